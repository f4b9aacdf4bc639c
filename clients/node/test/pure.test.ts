/** The parts that know no sockets: how messages are joined, and what is written and read. */
import assert from "node:assert/strict"
import { test } from "node:test"
import { decode, encode } from "@msgpack/msgpack"
import { AHEAD_MAX, HELD_MAX, OUTBOX_MAX, SEEN_GENERATION } from "../src/bounds.js"
import { LamportClock } from "../src/clock.js"
import { BadReply } from "../src/errors.js"
import { Outbox } from "../src/outbox.js"
import { HandedOut, markAt, Passed, Reading } from "../src/reading.js"
import { Rotation } from "../src/rotation.js"
import { type Message, type Page, readPublication, Reply, writeRequest } from "../src/wire.js"

const START = new Uint8Array()

function message(number: number, writer = 0, seq = number): Message {
  const position = { lamport: number, server: `server-${writer}`, boot: "b", seq }
  return { messageId: `${number}`, author: "ana", text: "", channel: "geral", timestamp: 0, clock: number, position }
}

function page(numbers: number[], more = false): Page {
  return { messages: numbers.map((number) => message(number)), cursor: Buffer.from(`${numbers.at(-1)}`), more }
}

const numbers = (items: readonly (Message | Passed)[]) => items.flatMap((item) => (item instanceof Passed ? [] : [Number(item.messageId)]))
const range = (from: number, to: number) => Array.from({ length: to - from }, (_, place) => from + place)

test("what was said before comes first, and what came live meanwhile after it", () => {
  const reading = new Reading(markAt(START))
  assert.deepEqual(reading.onLive(message(4)), [])
  assert.deepEqual(numbers(reading.onPage(page([1, 2], true))), [1, 2])
  assert.deepEqual(numbers(reading.onPage(page([3]))), [3, 4])
  assert.deepEqual(numbers(reading.onLive(message(5))), [5])
})

test("a message in a page and live comes once, whichever is first", () => {
  const reading = new Reading(markAt(START))
  reading.onPage(page([1]))
  assert.deepEqual(reading.onLive(message(1)), [])
  assert.deepEqual(numbers(reading.onLive(message(2))), [2])
  assert.deepEqual(reading.onLive(message(2)), [])
  assert.deepEqual(numbers(reading.onPage(page([2, 3]))), [3])
  assert.deepEqual(reading.onLive(message(2)), [])
})

test("a message that came live is remembered however many pages come before it", () => {
  const reading = new Reading(markAt(START))
  reading.onPage(page([]))
  const last = 10 * SEEN_GENERATION
  reading.onLive(message(last))
  for (let first = 0; first < 3 * SEEN_GENERATION; first += 1000) reading.onPage(page(range(first, first + 1000), true))
  assert.deepEqual(numbers(reading.onPage(page([last, last + 1]))), [last + 1])
})

test("live messages that nothing confirms are bounded, and left to the history", () => {
  const reading = new Reading(markAt(START))
  for (const number of range(0, HELD_MAX + 10)) assert.deepEqual(reading.onLive(message(number)), [])
  // It must be read once more, since the page may have been written before what was left out.
  reading.onPage(page([0]))
  assert.equal(reading.behind, true)
  assert.equal(numbers(reading.onPage(page(range(1, HELD_MAX + 1)))).length, HELD_MAX)
  assert.equal(reading.behind, false)
  const given = range(10 ** 6, 10 ** 6 + AHEAD_MAX + 10).flatMap((number) => reading.onLive(message(number)))
  assert.equal(given.length, AHEAD_MAX)
  reading.onPage(page([10 ** 6]))
  assert.equal(reading.behind, true)
})

test("a live copy under another position than the page had is the same message", () => {
  // Two servers may have stored it, when the first died over it; one of the two is shown.
  const reading = new Reading(markAt(START))
  reading.onPage(page([1]))
  assert.deepEqual(reading.onLive(message(1, 2, 9)), [])
})

/** Three servers' messages, shown in their order by each, and read by a cursor that counts how many of each were given. */
class World {
  readonly written: Message[][] = [[], [], []]
  readonly shown = [0, 0, 0]
  count = 0
  /** Live copies: lost, doubled, late. */
  readonly underWay: Message[] = []

  constructor(readonly below: (bound: number) => number) {}

  write(): void {
    const writer = this.below(3)
    const of = this.written[writer] as Message[]
    this.count += 1
    of.push(message(this.count, writer, of.length))
  }

  show(): void {
    const writer = this.below(3)
    const next = this.written[writer]?.[this.shown[writer] as number]
    if (next === undefined) return
    this.shown[writer]! += 1
    this.underWay.push(...Array<Message>([0, 1, 1, 2][this.below(4)] as number).fill(next))
  }

  page(cursor: Uint8Array): Page {
    const given: number[] = JSON.parse(Buffer.from(cursor).toString())
    const rest = this.written.flatMap((of, writer) => of.slice(given[writer], this.shown[writer]))
    rest.sort((one, other) => one.position.lamport - other.position.lamport)
    const messages = rest.slice(0, 1 + this.below(4))
    for (const { position } of messages) given[Number(position.server.at(-1))]! += 1
    return { messages, cursor: Buffer.from(JSON.stringify(given)), more: rest.length > messages.length }
  }

  late(): Message {
    return this.underWay.splice(this.below(this.underWay.length), 1)[0] as Message
  }
}

/** Numbers below a bound, the same for the same seed (mulberry32). */
function chance(seed: number): (bound: number) => number {
  return (bound) => {
    seed = (seed + 0x6d2b79f5) | 0
    let mixed = Math.imul(seed ^ (seed >>> 15), 1 | seed)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) % bound
  }
}

test("each message comes once, whatever is lost, repeated, late or resumed", () => {
  for (let seed = 0; seed < 50; seed++) {
    const below = chance(seed)
    const world = new World(below)
    const heard: number[] = []
    let mark = markAt(Buffer.from("[0,0,0]"))
    let [reading, handedOut, waiting] = [new Reading(mark), new HandedOut(mark), [] as (Message | Passed)[]]
    const take = (item: Message | Passed) => {
      handedOut.on(item)
      heard.push(...numbers([item]))
    }
    for (let step = 0; step < 600; step++) {
      const what = below(7)
      if (what < 2) world.write()
      else if (what < 4) world.show()
      else if (what === 4 && world.underWay.length > 0) waiting.push(...reading.onLive(world.late()))
      else if (what === 5) waiting.push(...reading.onPage(world.page(reading.cursor)))
      else if (what === 6) {
        waiting.splice(0, below(8)).forEach(take)
        if (below(10) === 0) {
          mark = handedOut.mark()
          ;[reading, handedOut, waiting] = [new Reading(mark), new HandedOut(mark), []]
        }
      }
    }
    for (let step = 0; step < 1500; step++) world.show()
    while (world.underWay.length > 0) waiting.push(...reading.onLive(world.late()))
    while (reading.behind || Buffer.from(reading.cursor).toString() !== JSON.stringify(world.shown)) waiting.push(...reading.onPage(world.page(reading.cursor)))
    waiting.forEach(take)
    assert.deepEqual(heard.sort((one, other) => one - other), range(1, world.count + 1), `seed ${seed}`)
    // All is confirmed: a bookmark holds no more than it must.
    assert.deepEqual([handedOut.mark().beyond.size, handedOut.mark().cursor], [0, reading.cursor])
  }
})

test("what waits for the program is bounded, keeps its order, and ends", async () => {
  const outbox = new Outbox<number>()
  outbox.put(range(0, OUTBOX_MAX))
  let hasRoom = false
  const room = outbox.room().then(() => (hasRoom = true))
  await new Promise(setImmediate)
  assert.equal(hasRoom, false)
  assert.equal(await outbox.get(), 0)
  await room
  outbox.put([OUTBOX_MAX])
  outbox.fail(new Error("broken"))
  for (const expected of range(1, OUTBOX_MAX + 1)) assert.equal(await outbox.get(), expected)
  await assert.rejects(outbox.get(), /broken/)
  outbox.end()
  assert.equal(await outbox.get(), undefined)
})

const POSITION = { lamport: 1, server: "server-1", boot: "d1002eb77affaefe", seq: 1 }
const IDENTITY = new Uint8Array(16)
const BODY = { user: "ana", message: "oi", channel: "geral", timestamp: 7, clock: 3, message_id: IDENTITY, position: POSITION }

test("a request is service and data, with clock and id", () => {
  const id = Uint8Array.from(range(0, 16))
  const expected = "82a773657276696365a56c6f67696ea464617461" + "83a475736572a5616c696365" + "a5636c6f636b01" + "a77061706f5f6964c410" + Buffer.from(id).toString("hex")
  assert.equal(Buffer.from(writeRequest("login", { user: "alice" }, 1, id)).toString("hex"), expected)
  assert.deepEqual(decode(writeRequest("users", {}, 2)), { service: "users", data: { clock: 2 } })
})

test("an acknowledgement says what, where and how durable", () => {
  const data = { status: "OK", message_id: IDENTITY, position: POSITION, durable: { fsynced: 2, of: 3 }, timestamp: 5, clock: 2 }
  const { position, durable, messageId } = new Reply(encode({ data })).acknowledgement()
  assert.deepEqual([position, durable, messageId], [POSITION, { fsynced: 2, of: 3 }, "0".repeat(32)])
})

test("a publication is a post or a direct message, and one that lacks something is told", () => {
  assert.equal(readPublication(encode(BODY)).channel, "geral")
  const { channel: _, ...direct } = BODY
  assert.equal(readPublication(encode({ ...direct, dst: "bento", timestamp: "2026-01-01T00:00:00Z" })).to, "bento")
  const changes = [{ user: 7 }, { message: null }, { channel: 1 }, { dst: "b" }, { timestamp: null }, { message_id: new Uint8Array(5) }, { position: 1 }, { clock: "1" }]
  for (const change of changes) assert.throws(() => readPublication(encode({ ...BODY, ...change })), BadReply, JSON.stringify(change))
})

test("b01: a publication in JSON is the same message", () => {
  const json = (fields: object) => Buffer.from(JSON.stringify(fields))
  const identity = Uint8Array.from(range(240, 256))
  const inJson = { ...BODY, message: "olá", message_id: "8PHy8_T19vf4-fr7_P3-_w" }
  assert.deepEqual(readPublication(json(inJson)), readPublication(encode({ ...BODY, message: "olá", message_id: identity })))
  const bad = [Buffer.from("{"), Buffer.from([0x7b, 0xff]), json({}), json({ ...BODY, message_id: "é" }), json({ ...inJson, clock: "1" })]
  for (const body of bad) assert.throws(() => readPublication(body), BadReply, String(body))
})

test("no bytes of a peer throw anything but a bad reply", () => {
  const below = chance(1)
  const whole = encode({ data: { messages: [BODY], papo_cursor: IDENTITY, more: false } })
  for (let turn = 0; turn < 3000; turn++) {
    const body = below(5) > 0 ? whole.slice() : Uint8Array.from(range(0, below(60)), () => below(256))
    for (let change = below(4); change > 0; change--) body[below(body.length || 1)] = below(256)
    try {
      new Reply(body).page()
    } catch (error) {
      assert.ok(error instanceof BadReply, String(error))
    }
  }
  assert.throws(() => new Reply(new Uint8Array(100_000).fill(0x91)), BadReply)
})

test("an address that fails gives way to the next, and pauses grow when all failed", () => {
  const rotation = new Rotation(["a:1", "tcp://b:2"])
  const pauses = range(0, 20).map((turn) => {
    const pause = rotation.failed()
    assert.equal(rotation.current, turn % 2 === 0 ? "tcp://b:2" : "tcp://a:1")
    return pause
  })
  assert.ok(pauses[0]! < 100 && pauses.at(-1)! >= 1000 && pauses.at(-1)! <= 3000, String(pauses))
  rotation.served()
  assert.ok(rotation.failed() < 100)
  for (const bad of ["", "127.0.0.1", "host:", "host:0", "host:65536", "http://a:1 b"]) assert.throws(() => new Rotation([bad]), /127.0.0.1:5555/)
})

test("e01 e03: the clock counts sends and rises above what it receives", () => {
  const clock = new LamportClock()
  assert.equal(clock.onSend(), 1)
  for (const received of [3, -1, 2 ** 60, NaN]) clock.onReceive(received)
  assert.equal(clock.now, 4)
})
