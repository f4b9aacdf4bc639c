/**
 * The listening side: one SUB socket for speed and histories by cursor for completeness, joined so that each message comes once, whatever
 * dies in between: a server, a broker, a proxy, or this program (see `Stream.bookmark`).
 */
import { setTimeout as sleep } from "node:timers/promises"
import { PAGE_MESSAGES, READ_AFTER, READ_AGAIN_MS, READ_EVERY_MS, SETTLE_MS } from "./bounds.js"
import type { LamportClock } from "./clock.js"
import { BadReply, NoAnswer, Refused } from "./errors.js"
import { LinkLost, SubscriberLink } from "./link.js"
import { Outbox, Signal } from "./outbox.js"
import { HandedOut, type Mark, markAt, Passed, Reading } from "./reading.js"
import type { Requests } from "./requests.js"
import type { Rotation } from "./rotation.js"
import { type Fields, type Message, type Page, readPublication } from "./wire.js"

/** The cursor before the first message. */
const BEGINNING = new Uint8Array()

/** What reading the histories on has brought. */
type Found = "nothing" | "missed" | "trouble"

interface Place {
  /** What to ask a history for. */
  readonly scope: Fields
  readonly reading: Reading
  /** How far the program has it. */
  readonly handedOut: HandedOut
}

/** What a stream is made of; `Chat.listen` knows it. */
export interface StreamParts {
  readonly user: string
  readonly proxies: Rotation
  /** Of the chat, and the stream's own: nobody's request waits behind a stream's. */
  readonly chatRequests: Requests
  readonly requests: Requests
  readonly clock: LamportClock
  /** By topic. */
  readonly scopes: ReadonlyMap<string, Fields>
  readonly marks: ReadonlyMap<string, Mark>
  readonly fromStart: boolean
  /** Hears of trouble that the stream gets over by itself. */
  readonly onTrouble: (trouble: Error) => void
}

/**
 * Messages of some channels, and direct ones, as they come; `Chat.listen` opens it.
 *
 * An asynchronous iterable, for one loop: leaving the loop closes it, and closing it ends the loop. What was said before it began comes
 * first, in the order of the history; then what is said. A message that was missed because a proxy died comes late, as soon as the
 * histories have been read on. The loop throws `Refused` with code `cursor_invalid` when a bookmark is of another cluster.
 */
export class Stream implements AsyncIterableIterator<Message>, AsyncDisposable {
  readonly #parts: StreamParts
  readonly #places = new Map<string, Place>()
  readonly #outbox = new Outbox<readonly [HandedOut, Message | Passed]>()
  readonly #ending = new AbortController()
  readonly #wake = new Signal()
  #woken = false
  #link: SubscriberLink | undefined
  #isUp = false
  #heard = 0
  #tasks: Promise<void>[] = []

  private constructor(parts: StreamParts) {
    this.#parts = parts
  }

  /** From its resolution on nothing is missed. */
  static async open(parts: StreamParts): Promise<Stream> {
    const stream = new Stream(parts)
    try {
      for (const [topic, scope] of parts.scopes) {
        const mark = parts.marks.get(topic) ?? (await stream.#firstMark(scope))
        stream.#places.set(topic, { scope, reading: new Reading(mark), handedOut: new HandedOut(mark) })
      }
    } catch (error) {
      parts.requests.close()
      throw error
    }
    stream.#tasks = [stream.#guarded(() => stream.#listen()), stream.#guarded(() => stream.#readOn())]
    return stream
  }

  // --- The program's side ---

  [Symbol.asyncIterator](): this {
    return this
  }

  async next(): Promise<IteratorResult<Message, undefined>> {
    for (;;) {
      const next = await this.#outbox.get()
      if (next === undefined) return { done: true, value: undefined }
      const [handedOut, item] = next
      handedOut.on(item)
      if (!(item instanceof Passed)) return { done: false, value: item }
    }
  }

  async return(): Promise<IteratorResult<Message, undefined>> {
    await this.close()
    return { done: true, value: undefined }
  }

  /** Ends it; what still waits is not handed out, and `bookmark` stays true. */
  async close(): Promise<void> {
    this.#ending.abort()
    this.#outbox.end()
    this.#wake.tell()
    this.#link?.close()
    this.#parts.requests.close()
    await Promise.all(this.#tasks)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }

  get isClosed(): boolean {
    return this.#ending.signal.aborted
  }

  /**
   * Where the program stands, after the message that it was given last. A stream that is opened with it goes on there, in another process
   * and years later too: take it when that message is dealt with, and keep it where it is safe.
   */
  bookmark(): string {
    const places = [...this.#places].map(([topic, { handedOut }]) => [topic, markToJson(handedOut.mark())])
    return JSON.stringify({ papo_bookmark: 1, user: this.#parts.user, places: Object.fromEntries(places) })
  }

  // --- Live ---

  async #listen(): Promise<void> {
    const { proxies, scopes } = this.#parts
    while (!this.isClosed) {
      try {
        this.#link = new SubscriberLink(proxies.current, scopes.keys())
        await this.#link.up()
        proxies.served()
        this.#isUp = true
        this.#wakeUp()
        while (!this.isClosed) {
          await this.#outbox.room()
          this.#onFrames(await this.#link.receive())
        }
      } catch (error) {
        if (!(error instanceof LinkLost)) throw error
      } finally {
        this.#isUp = false
        this.#link?.close()
      }
      await this.#pause(proxies.failed())
    }
  }

  #onFrames(frames: readonly Buffer[]): void {
    const [topic, body] = frames
    const place = topic && this.#places.get(topic.toString())
    // Any proxy but papo's matches prefixes.
    if (place === undefined || body === undefined || frames.length !== 2) return
    let message: Message
    try {
      message = readPublication(body)
    } catch (error) {
      this.#parts.onTrouble(error as BadReply)
      return
    }
    this.#parts.clock.onReceive(message.clock)
    this.#heard += 1
    if (this.#heard % READ_AFTER === 0) this.#wakeUp()
    this.#handOut(place, place.reading.onLive(message))
  }

  #handOut(place: Place, items: readonly (Message | Passed)[]): void {
    this.#outbox.put(items.map((item) => [place.handedOut, item] as const))
  }

  #wakeUp(): void {
    this.#woken = true
    this.#wake.tell()
  }

  // --- Histories ---

  async #firstMark(scope: Fields): Promise<Mark> {
    if (this.#parts.fromStart) return markAt(BEGINNING)
    // Over the chat's own connection: then what this program wrote before is not taken for new.
    const newest = (await this.#parts.chatRequests.read("history", { ...scope, limit: PAGE_MESSAGES })).page()
    const passed = new Reading(markAt(BEGINNING)).onPage(newest).findLast((item) => item instanceof Passed)
    return { ...markAt(newest.cursor), ...(passed && { covered: passed.covered }) }
  }

  /** At once; a moment after each new connection; and now and then, since a proxy may lose messages, or be cut off, unnoticed. */
  async #readOn(): Promise<void> {
    let found = await this.#readAll()
    while (!this.isClosed) {
      const heard = this.#heard
      await this.#untilToBeRead(found === "nothing" && this.#isUp ? READ_EVERY_MS : READ_AGAIN_MS)
      // Perhaps nobody has spoken since. If somebody did, the proxy is cut off: another connection costs little.
      if (found === "missed" && this.#heard === heard) this.#link?.close()
      found = await this.#readAll()
    }
  }

  async #untilToBeRead(milliseconds: number): Promise<void> {
    if (!this.#woken) {
      const timer = setTimeout(() => this.#wake.tell(), milliseconds * (1 + 0.2 * Math.random()))
      await this.#wake.wait()
      clearTimeout(timer)
    }
    if (this.#woken) {
      this.#woken = false
      await this.#pause(SETTLE_MS)
    }
  }

  async #readAll(): Promise<Found> {
    let found: Found = "nothing"
    for (const place of this.#places.values()) {
      try {
        if ((await this.#readToEnd(place)) && found === "nothing") found = "missed"
      } catch (error) {
        if (!(error instanceof NoAnswer || (error instanceof Refused && error.retry))) throw error
        this.#parts.onTrouble(error)
        found = "trouble"
      }
    }
    return found
  }

  /** Whether a message was given that should have come live. */
  async #readToEnd(place: Place): Promise<boolean> {
    const { scope, reading } = place
    let missed = false
    while (!this.isClosed) {
      const reply = await this.#parts.requests.read("history", { ...scope, papo_cursor: reading.cursor, limit: PAGE_MESSAGES })
      const page = this.#ofMine(reply.page())
      await this.#outbox.room()
      const { behind: wasBehind, cursor: stood } = reading
      const items = reading.onPage(page)
      missed ||= !wasBehind && !(items[0] instanceof Passed)
      this.#handOut(place, items)
      if (!reading.behind) break
      if (page.more && Buffer.compare(page.cursor, stood) === 0) throw new BadReply(`the history of ${JSON.stringify(scope)} does not move on`)
    }
    return missed
  }

  /** A user's history holds what that user sent, too. */
  #ofMine(page: Page): Page {
    return { ...page, messages: page.messages.filter(({ to }) => to === undefined || to === this.#parts.user) }
  }

  /** What ends a task ends the stream, and the program hears of it. */
  async #guarded(work: () => Promise<void>): Promise<void> {
    try {
      await work()
    } catch (error) {
      if (!this.isClosed) this.#outbox.fail(error as Error)
    }
  }

  async #pause(milliseconds: number): Promise<void> {
    await sleep(milliseconds, undefined, { signal: this.#ending.signal })
  }
}

/** What `Stream.bookmark` gave. */
export function marksOf(bookmark: string, user: string): Map<string, Mark> {
  try {
    const read = JSON.parse(bookmark)
    if (read.papo_bookmark !== 1 || read.user !== user) throw new Error(`it is of version ${read.papo_bookmark} and user ${read.user}`)
    return new Map(Object.entries(read.places).map(([topic, mark]) => [topic, markOfJson(mark)]))
  } catch (error) {
    throw new TypeError(`this is no bookmark for ${user}: ${error}. Begin without one`, { cause: error })
  }
}

function markToJson(mark: Mark): unknown {
  return { cursor: Buffer.from(mark.cursor).toString("base64url"), beyond: [...mark.beyond].sort(), covered: [...mark.covered] }
}

function markOfJson(json: unknown): Mark {
  const { cursor, beyond, covered } = json as Record<string, unknown>
  if (typeof cursor !== "string" || !Array.isArray(beyond) || !Array.isArray(covered)) throw new Error("a place without cursor, beyond and covered")
  const starts = covered.map(([start, seq]): [string, number] => [String(start), Number(seq)])
  return { cursor: Buffer.from(cursor, "base64url"), beyond: new Set(beyond.map(String)), covered: new Map(starts) }
}
