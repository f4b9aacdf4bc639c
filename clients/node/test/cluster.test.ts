/**
 * The library and its examples at a real cluster, and at peers that do not answer as they should. That nothing is missed or doubled while
 * processes die is for tests/chaos/libraries.
 */
import assert from "node:assert/strict"
import { type ChildProcessByStdio, spawn } from "node:child_process"
import { randomBytes } from "node:crypto"
import { mkdtemp, rm } from "node:fs/promises"
import { type AddressInfo, createServer } from "node:net"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { createInterface } from "node:readline"
import type { Readable, Writable } from "node:stream"
import { after, before, test } from "node:test"
import { setTimeout as sleep } from "node:timers/promises"
import { Reply as ReplySocket } from "zeromq"
import { OUTBOX_MAX, WAITING_MAX } from "../src/bounds.js"
import { BadReply, Chat, Closed, NoAnswer, Overloaded, Refused, type Stream, TooLarge } from "../src/index.js"
import { BROKERS, HERE, JSON_PROXY, name, openChat, PROXIES, startCluster } from "./cluster.js"

const PATIENCE = { timeout: 60_000 }
let cluster: Awaited<ReturnType<typeof startCluster>>
before(async () => void (cluster = await startCluster()), PATIENCE)
after(() => cluster.stop(), PATIENCE)

/** A test with chats, closed in the end. */
function chats(what: string, act: (open: typeof openChat) => Promise<void>): void {
  test(what, PATIENCE, async () => {
    const opened: Chat[] = []
    try {
      await act(async (user) => {
        const chat = await openChat(user)
        opened.push(chat)
        return chat
      })
    } finally {
      await Promise.all(opened.map((chat) => chat.close()))
    }
  })
}

async function heard(stream: Stream, count: number): Promise<string[]> {
  const texts: string[] = []
  while (texts.length < count) texts.push((await stream.next()).value?.text ?? "the end")
  return texts
}

async function all(chat: Chat, channel?: string, cursor?: Uint8Array): Promise<string[]> {
  const texts: string[] = []
  for await (const { text } of chat.read(channel, cursor && { cursor })) texts.push(text)
  return texts
}

async function channelOf(chat: Chat): Promise<string> {
  const channel = name("channel")
  await chat.createChannel(channel)
  return channel
}

/** A port whose kernel accepts connections, and where nobody reads what comes. */
async function hanging(act: (address: string) => Promise<void>): Promise<void> {
  const server = createServer((socket) => void socket.pause())
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve))
  try {
    await act(`127.0.0.1:${(server.address() as AddressInfo).port}`)
  } finally {
    server.close()
  }
}

chats("a user logs in, makes a channel, posts and reads", async (open) => {
  const [ana, bento] = [await open(), await open()]
  const channel = name("channel")
  const made = await ana.createChannel(channel)
  assert.ok(made.durable.fsynced >= 2 && made.durable.of === 3)
  assert.ok((await ana.channels()).includes(channel) && (await bento.users()).includes(bento.user))
  let posted = made
  for (let number = 0; number < 5; number++) posted = await ana.post(channel, `n${number}`)
  await ana.send(bento.user, "só para ti")
  const newest = await ana.history(channel, { limit: 2 })
  assert.deepEqual(newest.messages.map(({ text }) => text), ["n3", "n4"])
  assert.deepEqual([newest.messages[1]?.messageId, newest.messages[1]?.position], [posted.messageId, posted.position])
  const first = await ana.history(channel, { cursor: new Uint8Array(), limit: 2 })
  assert.deepEqual([first.messages.map(({ text }) => text), first.more], [["n0", "n1"], true])
  assert.deepEqual(await all(ana, channel, first.cursor), ["n2", "n3", "n4"])
  assert.deepEqual(await all(ana), ["só para ti"])
})

chats("posts are carried out in the order of asking", async (open) => {
  const chat = await open()
  const channel = await channelOf(chat)
  const texts = Array.from({ length: 50 }, (_, number) => `${number}`)
  await Promise.all(texts.map((text) => chat.post(channel, text)))
  assert.deepEqual(await all(chat, channel), texts)
})

chats("a write repeated under its requestId is stored once", async (open) => {
  const chat = await open()
  const [channel, requestId] = [await channelOf(chat), randomBytes(16)]
  const once = await chat.post(channel, "oi", { requestId })
  const restarted = await open(chat.user)
  const again = await restarted.post(channel, "oi", { requestId })
  const other = await restarted.post(channel, "olá", { requestId })
  assert.equal(again.messageId, once.messageId)
  assert.notEqual(other.messageId, once.messageId)
  assert.deepEqual(await all(restarted, channel), ["oi", "olá"])
  await assert.rejects(chat.post(channel, "oi", { requestId: new Uint8Array(5) }), /16 bytes/)
})

chats("a refusal says what and the remedy, and the connection lives", async (open) => {
  const chat = await open()
  const cases: [() => Promise<unknown>, string, RegExp][] = [
    [() => chat.post("nowhere", "oi"), "unknown_channel", /createChannel/],
    [() => chat.send("nobody", "oi"), "unknown_user", /login/],
    [() => chat.createChannel("servers"), "reserved_name", /another name/],
    [() => chat.history("nowhere"), "unknown_channel", /createChannel/],
    [() => chat.history(undefined, { cursor: Buffer.from("no cursor") }), "cursor_invalid", /without/],
    [() => chat.post("", "oi"), "bad_request", /Correct/],
  ]
  for (const [act, code, remedy] of cases) {
    await assert.rejects(act(), (error) => {
      assert.ok(error instanceof Refused && error.code === code && !error.retry, String(error))
      assert.match(error.message, remedy)
      return true
    })
  }
  await assert.rejects(chat.post("geral", "x".repeat(1 << 20)), TooLarge)
  assert.ok((await chat.users()).includes(chat.user))
})

chats("a request that is given up leaves the chat as it was", async (open) => {
  const chat = await open()
  const channel = await channelOf(chat)
  let given = 0
  for (const delay of [0, 0, 1, 2, 4]) {
    const ending = new AbortController()
    const posting = chat.post(channel, `after ${delay}`, { signal: ending.signal })
    if (delay > 0) await sleep(delay)
    ending.abort()
    await posting.catch((error: Error) => {
      assert.equal(error.name, "AbortError")
      given += 1
    })
    assert.ok((await chat.history(channel, { limit: 1 })).cursor.length > 0)
  }
  assert.ok(given >= 2, `${given} were given up`)
  await chat.post(channel, "last")
  assert.equal((await all(chat, channel)).at(-1), "last")
})

test("nobody there is told within the deadline", PATIENCE, async () => {
  const chat = new Chat("ana", { brokers: ["127.0.0.1:1"], deadlineMs: 1000 })
  await assert.rejects(chat.post("geral", "oi"), (error) => {
    assert.ok(error instanceof NoAnswer && error.requestId?.length === 16, String(error))
    assert.match(error.message, /127.0.0.1:1: cannot connect.*broker.*requestId/)
    return true
  })
  await chat.close()
})

test("a peer that hangs gives way to the next", PATIENCE, () =>
  hanging(async (address) => {
    const chat = await Chat.open(name("user"), { brokers: [address, ...BROKERS], proxies: PROXIES })
    assert.ok((await chat.users()).includes(chat.user))
    await chat.close()
  }),
)

test("a deadline may be infinite", PATIENCE, async () => {
  const chat = await Chat.open(name("user"), { brokers: BROKERS, proxies: PROXIES, deadlineMs: Infinity })
  try {
    for (const users of await Promise.all([chat.users(), chat.users(), chat.users()])) assert.ok(users.includes(chat.user))
  } finally {
    await chat.close()
  }
})

test("a peer that is no papo is told", PATIENCE, async () => {
  const stranger = new ReplySocket({ linger: 0 })
  await stranger.bind("tcp://127.0.0.1:*")
  const address = (stranger.lastEndpoint ?? "").replace("tcp://", "")
  const chat = new Chat("ana", { brokers: [address] })
  const asking = assert.rejects(chat.users(), (error) => error instanceof BadReply && /broker of papo/.test(error.message) && error.message.includes(address))
  await stranger.receive()
  await stranger.send(Buffer.from([0xc1, 0x20]))
  await asking
  await chat.close()
  stranger.close()
})

test("requests that wait are bounded, and closing ends them", PATIENCE, () =>
  hanging(async (address) => {
    const chat = new Chat("ana", { brokers: [address] })
    const ask = () => chat.users().catch((error: unknown) => error)
    const waiting = Array.from({ length: WAITING_MAX }, ask)
    // One of them has its turn.
    await sleep(100)
    waiting.push(ask())
    await assert.rejects(chat.users(), Overloaded)
    await chat.close()
    for (const result of await Promise.all(waiting)) assert.ok(result instanceof Closed, String(result))
  }),
)

chats("a stream gives channels and direct messages from now on", async (open) => {
  const [ana, bento] = [await open(), await open()]
  const [channel, other] = [await channelOf(ana), await channelOf(ana)]
  await bento.post(channel, "before")
  const stream = await bento.listen([channel], { direct: true })
  await ana.post(channel, "to all")
  await ana.post(other, "elsewhere")
  await bento.send(ana.user, "from me")
  await ana.send(bento.user, "to you")
  assert.deepEqual((await heard(stream, 2)).sort(), ["to all", "to you"])
  await ana.post(channel, "last")
  assert.deepEqual(await heard(stream, 1), ["last"])
})

chats("b01: a stream hears a proxy that speaks JSON", async (open) => {
  const writer = await open()
  const channel = await channelOf(writer)
  const reader = await Chat.open(name("user"), { brokers: BROKERS, proxies: [JSON_PROXY] })
  try {
    const troubles: Error[] = []
    const stream = await reader.listen([channel], { onTrouble: (trouble) => troubles.push(trouble) })
    const texts = Array.from({ length: 40 }, (_, number) => `olá ${number}`)
    for (const text of texts) {
      await writer.post(channel, text)
      // Some are published when the subscription has reached the proxy.
      await sleep(50)
    }
    assert.deepEqual((await heard(stream, texts.length)).sort(), texts.sort())
    assert.deepEqual(troubles, [])
  } finally {
    await reader.close()
  }
})

chats("a stream from the start gives the history in its order, and then what is said", async (open) => {
  const chat = await open()
  const channel = await channelOf(chat)
  const texts = Array.from({ length: 270 }, (_, number) => `n${number}`)
  await Promise.all(texts.slice(0, 250).map((text) => chat.post(channel, text)))
  const stream = await chat.listen([channel], { fromStart: true })
  for (const text of texts.slice(250)) await chat.post(channel, text)
  assert.deepEqual(await heard(stream, 270), texts)
})

chats("a bookmark goes on where the program was, in another chat", async (open) => {
  const writer = await open()
  const [channel, user, texts] = [await channelOf(writer), name("reader"), [] as string[]]
  let bookmark: string | undefined
  for (let turn = 0; turn <= 8; turn++) {
    const reader = await openChat(user)
    const stream = await reader.listen([channel], { bookmark, fromStart: true })
    for (let number = 0; number < 30 && turn < 8; number++) await writer.post(channel, `${turn} ${number}`)
    texts.push(...(await heard(stream, turn < 8 ? 20 : 80)))
    bookmark = stream.bookmark()
    await reader.close()
  }
  assert.deepEqual([texts.length, new Set(texts).size], [240, 240])
})

chats("a program that does not take its messages gets each once all the same", async (open) => {
  const [writer, reader] = [await open(), await open()]
  const channel = await channelOf(writer)
  const stream = await reader.listen([channel])
  const count = OUTBOX_MAX + 200
  for (let first = 0; first < count; first += 100) {
    await Promise.all(Array.from({ length: 100 }, (_, place) => writer.post(channel, `${first + place}`)))
  }
  const texts = await heard(stream, Math.ceil(count / 100) * 100)
  assert.equal(new Set(texts).size, texts.length)
  await writer.post(channel, "last")
  assert.deepEqual(await heard(stream, 1), ["last"])
})

chats("leaving a loop closes its stream, and closing a stream ends its loop", async (open) => {
  const chat = await open()
  const channel = await channelOf(chat)
  const left = await chat.listen([channel])
  await chat.post(channel, "oi")
  for await (const { text } of left) {
    assert.equal(text, "oi")
    break
  }
  assert.deepEqual([left.isClosed, await left.next()], [true, { done: true, value: undefined }])
  const closed = await chat.listen([channel])
  setTimeout(() => closed.close(), 50)
  for await (const { text } of closed) assert.fail(text)
})

chats("a stream that opens while its chat is closed is closed, too", async (open) => {
  const chat = await open()
  const bookmark = (await chat.listen([], { direct: true })).bookmark()
  const opening = assert.rejects(chat.listen([], { direct: true, bookmark }), Closed)
  await chat.close()
  await opening
  await assert.rejects(chat.listen([], { direct: true, bookmark }), Closed)
})

chats("what cannot be listened to is told", async (open) => {
  const chat = await open()
  await assert.rejects(chat.listen([]), /nothing to listen to/)
  await assert.rejects(chat.listen(["nowhere"]), Refused)
  const bookmark = (await chat.listen([], { direct: true })).bookmark()
  const other = new Chat("somebody else", { brokers: BROKERS })
  for (const [bad, who] of [["{}", chat], ["no json", chat], [bookmark, other]] as const) {
    await assert.rejects(who.listen([], { direct: true, bookmark: bad }), /no bookmark/)
  }
  // A bookmark of another cluster.
  const foreign = await chat.listen([], { direct: true, bookmark: bookmark.replace('"cursor":"', '"cursor":"AAAA') })
  await assert.rejects(foreign.next(), /cursor_invalid/)
})

// --- The examples, as programs ---

type Program = ChildProcessByStdio<Writable, Readable, null>

async function example(act: (start: (file: string, ...options: string[]) => { program: Program; said: () => Promise<string> }) => Promise<void>) {
  const programs: Program[] = []
  try {
    await act((file, ...options) => {
      const addresses = [...BROKERS.flatMap((address) => ["--broker", address]), ...PROXIES.flatMap((address) => ["--proxy", address])]
      const program = spawn(process.execPath, [join(HERE, "build/examples", file), ...addresses, ...options], { stdio: ["pipe", "pipe", "inherit"] })
      programs.push(program)
      const lines = createInterface({ input: program.stdout })[Symbol.asyncIterator]()
      return { program, said: async () => String((await lines.next()).value) }
    })
  } finally {
    for (const program of programs) program.kill("SIGKILL")
  }
}

test("two people talk by the example chat", PATIENCE, () =>
  example(async (start) => {
    const [channel, ana, bento] = [name("channel"), name("ana"), name("bento")]
    const first = start("chat.js", "--user", ana, "--channel", channel)
    assert.equal(await first.said(), `you are ${ana} in #${channel}; Ctrl-D leaves`)
    const second = start("chat.js", "--user", bento, "--channel", channel)
    await second.said()
    first.program.stdin.write("bom dia!\n")
    assert.equal(await second.said(), `#${channel} ${ana}: bom dia!`)
    second.program.stdin.write(`@${ana} tudo bem?\n`)
    assert.equal(await first.said(), `(to you) ${bento}: tudo bem?`)
    for (const { program } of [first, second]) {
      program.stdin.end()
      const code = program.exitCode ?? (await new Promise((resolve) => program.once("exit", resolve)))
      assert.equal(code, 0)
    }
  }),
)

chats("the example bot answers once, however often it is killed", (open) =>
  example(async (start) => {
    const [chat, bot] = [await open(), await open(name("echo"))]
    const stream = await chat.listen([], { direct: true })
    const folder = await mkdtemp(join(tmpdir(), "papo-bot-"))
    const run = () => start("bot.js", "--user", bot.user, "--bookmark", join(folder, "bookmark"))
    const answers: string[] = []
    for (let kill = 0; kill < 3; kill++) {
      const { program, said } = run()
      assert.equal(await said(), "ready")
      for (let number = 0; number < 5; number++) await chat.send(bot.user, `${kill}.${number}`)
      // Killed while it has yet to answer some.
      answers.push(...(await heard(stream, 3)))
      program.kill("SIGKILL")
    }
    run()
    answers.push(...(await heard(stream, 6)))
    setTimeout(() => stream.close(), 1000)
    for await (const { text } of stream) answers.push(text)
    const expected = [0, 1, 2].flatMap((kill) => [0, 1, 2, 3, 4].map((number) => `you said: ${kill}.${number}`))
    assert.deepEqual(answers.sort(), expected)
    await rm(folder, { recursive: true })
  }),
)
