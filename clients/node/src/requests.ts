/**
 * The asking side: one REQ socket, one request at a time in the order of asking, each repeated until it is answered or its deadline has
 * passed; where there are several brokers, at the next when one fails. A repeated write carries the same id, so papo does it once.
 */
import { randomBytes } from "node:crypto"
import { setTimeout as sleep } from "node:timers/promises"
import { REPEAT_MS, REPLY_MS, TIMER_MS_MAX, WAITING_MAX } from "./bounds.js"
import type { LamportClock } from "./clock.js"
import { BadReply, Closed, NoAnswer, Overloaded, Refused, TooLarge } from "./errors.js"
import { LinkLost, RequestLink } from "./link.js"
import { Rotation } from "./rotation.js"
import { type Fields, Reply, writeRequest } from "./wire.js"

const ID_BYTES = 16

/** How requests are made. */
export interface RequestSettings {
  readonly brokers: readonly string[]
  readonly deadlineMs: number
  readonly requestBytesMax: number
}

/** What a call may bring along. */
export interface CallOptions {
  /** Ends this request, and no other. What it asked for may be done all the same. */
  readonly signal?: AbortSignal | undefined
}

/** What a write may bring along. */
export interface WriteOptions extends CallOptions {
  /** 16 bytes, under which a program repeats a write after an error or a restart: then it is done once. */
  readonly requestId?: Uint8Array | undefined
}

interface Question {
  readonly service: string
  readonly fields: Fields
  readonly requestId?: Uint8Array
  readonly deadline: number
  readonly signal: AbortSignal | undefined
}

/** Asks brokers. */
export class Requests {
  readonly #rotation: Rotation
  #turn: Promise<void> = Promise.resolve()
  #waiting = 0
  #link: RequestLink | undefined
  #closed = false

  constructor(
    readonly settings: RequestSettings,
    private readonly clock: LamportClock,
  ) {
    this.#rotation = new Rotation(settings.brokers)
  }

  /** Something that changes the history, under the id given or a fresh one. */
  async write(service: string, fields: Fields, { requestId = randomBytes(ID_BYTES), signal }: WriteOptions = {}): Promise<Reply> {
    if (requestId.length !== ID_BYTES) throw new TypeError(`a requestId has ${ID_BYTES} bytes, not ${requestId.length}`)
    return this.#ask({ service, fields, requestId, signal, deadline: this.#deadline() })
  }

  /** Something that changes nothing. */
  async read(service: string, fields: Fields = {}, { signal }: CallOptions = {}): Promise<Reply> {
    return this.#ask({ service, fields, signal, deadline: this.#deadline() })
  }

  get isClosed(): boolean {
    return this.#closed
  }

  close(): void {
    this.#closed = true
    this.#drop()
  }

  #deadline(): number {
    return performance.now() + this.settings.deadlineMs
  }

  async #ask(question: Question): Promise<Reply> {
    if (this.#waiting >= WAITING_MAX) throw new Overloaded(`${this.#waiting} requests wait already: await some of them before asking more`)
    question.signal?.throwIfAborted()
    const before = this.#turn
    let done = () => {}
    // Also who gives up waiting leaves the order as it is.
    const mine = new Promise<void>((resolve) => (done = resolve))
    this.#turn = before.then(() => mine)
    this.#waiting += 1
    try {
      await this.#untilMyTurn(before, question).finally(() => (this.#waiting -= 1))
      return await this.#untilAnswered(question)
    } finally {
      done()
    }
  }

  async #untilMyTurn(before: Promise<void>, { service, deadline, signal }: Question): Promise<void> {
    const late = () => new NoAnswer(service, this.settings.deadlineMs, "those asked before it have no answer either")
    await new Promise<void>((resolve, reject) => {
      const onAbort = () => reject(signal?.reason)
      const timer = setTimeout(() => reject(late()), Math.min(deadline - performance.now(), TIMER_MS_MAX))
      signal?.addEventListener("abort", onAbort)
      before.then(resolve).finally(() => {
        clearTimeout(timer)
        signal?.removeEventListener("abort", onAbort)
      })
    })
  }

  async #untilAnswered(question: Question): Promise<Reply> {
    const { service, requestId, deadline, signal } = question
    for (;;) {
      let pause = REPEAT_MS * (0.5 + Math.random())
      try {
        const reply = await this.#attempt(question)
        if (!reply.isRefusal) return reply
        if (!reply.retry || performance.now() + pause >= deadline) {
          throw new Refused(service, reply.code, reply.retry, reply.description, requestId)
        }
      } catch (error) {
        if (!(error instanceof LinkLost)) throw error
        const cause = `${this.#rotation.current}: ${error.message}`
        pause = this.#rotation.failed()
        if (performance.now() + pause >= deadline) throw new NoAnswer(service, this.settings.deadlineMs, cause, requestId)
      }
      await sleep(pause, undefined, { signal }).catch((error: unknown) => {
        signal?.throwIfAborted()
        throw error
      })
    }
  }

  async #attempt({ service, fields, requestId, deadline, signal }: Question): Promise<Reply> {
    const body = writeRequest(service, fields, this.clock.onSend(), requestId)
    const most = this.settings.requestBytesMax
    if (body.length > most) throw new TooLarge(`${service} has ${body.length} bytes, and the servers take ${most}: send a shorter text`)
    let answer: Uint8Array
    try {
      const link = await this.#connected(signal)
      answer = await link.ask(body, Math.min(REPLY_MS, deadline - performance.now()), signal)
    } catch (error) {
      // Cancelled or failed: a late reply must not answer the next request.
      this.#drop()
      throw error
    }
    this.#rotation.served()
    const reply = this.#reading(() => new Reply(answer))
    this.clock.onReceive(reply.clock)
    return reply
  }

  #reading<T>(read: () => T): T {
    try {
      return read()
    } catch (error) {
      if (error instanceof BadReply) error.message = `${this.#rotation.current}: ${error.message}. Is it a broker of papo?`
      throw error
    }
  }

  async #connected(signal: AbortSignal | undefined): Promise<RequestLink> {
    if (this.#closed) throw new Closed("the chat is closed")
    if (this.#link === undefined) {
      this.#link = new RequestLink(this.#rotation.current)
      await this.#link.up(signal)
    }
    return this.#link
  }

  #drop(): void {
    this.#link?.close()
    this.#link = undefined
  }
}
