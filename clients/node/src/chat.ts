/** A user's chat: what a program does with papo. */
import { DEADLINE_MS, REQUEST_BYTES_MAX, TOPICS_MAX } from "./bounds.js"
import { LamportClock } from "./clock.js"
import { Closed } from "./errors.js"
import { type CallOptions, Requests, type RequestSettings, type WriteOptions } from "./requests.js"
import { Rotation } from "./rotation.js"
import { marksOf, Stream } from "./stream.js"
import type { Acknowledgement, Fields, Message, Page } from "./wire.js"

/** Where the cluster is, and how patient the chat. */
export interface ChatOptions {
  /** Addresses, the next of which is asked when one fails. Default: 127.0.0.1:5555. */
  readonly brokers?: readonly string[]
  /** Addresses, the next of which is listened to when one fails. Default: 127.0.0.1:5558. */
  readonly proxies?: readonly string[]
  /** How long a request is repeated. Default: 30,000. */
  readonly deadlineMs?: number
  /** The servers' `limits.requestBytes`. Default: 1 MiB. */
  readonly requestBytesMax?: number
}

/** What to read of a history. */
export interface HistoryOptions extends CallOptions {
  /** Without it the newest messages; with it what follows; the empty one stands before the first message. */
  readonly cursor?: Uint8Array
  /** At most so many messages. */
  readonly limit?: number
}

/** Where a stream begins, and what it has beside channels. */
export interface ListenOptions {
  /** Direct messages to this user, too. */
  readonly direct?: boolean
  /** Of an earlier stream: go on there. What it does not know begins as if there were none. */
  readonly bookmark?: string | undefined
  /** Begin at the first message, not now. */
  readonly fromStart?: boolean
  /** Hears of trouble that the stream gets over by itself: servers that cannot be asked for a while. */
  readonly onTrouble?: (trouble: Error) => void
}

/**
 * One user at a cluster.
 *
 * Requests are carried out one at a time, in the order of asking; each is repeated, at every broker in turn, until it is answered or
 * `deadlineMs` have passed. A write is acknowledged once it is on as many disks as the cluster promises, and stored once, however often
 * it was repeated.
 */
export class Chat implements AsyncDisposable {
  readonly #settings: RequestSettings
  readonly #proxies: readonly string[]
  readonly #clock = new LamportClock()
  readonly #requests: Requests
  #streams: Stream[] = []

  /** Logs nobody in; `Chat.open` does. */
  constructor(
    readonly user: string,
    options: ChatOptions = {},
  ) {
    const { brokers = ["127.0.0.1:5555"], proxies = ["127.0.0.1:5558"], deadlineMs = DEADLINE_MS, requestBytesMax = REQUEST_BYTES_MAX } = options
    this.#settings = { brokers, deadlineMs, requestBytesMax }
    // Wrong addresses are told now, and not by the first request.
    new Rotation(proxies)
    this.#proxies = proxies
    this.#requests = new Requests(this.#settings, this.#clock)
  }

  /** A chat whose user is logged in. */
  static async open(user: string, options: ChatOptions & CallOptions = {}): Promise<Chat> {
    const chat = new Chat(user, options)
    try {
      await chat.login({ signal: options.signal })
    } catch (error) {
      await chat.close()
      throw error
    }
    return chat
  }

  /** Closes every stream and connection. Who still waits for an answer gets `Closed`. */
  async close(): Promise<void> {
    this.#requests.close()
    await Promise.all(this.#streams.splice(0).map((stream) => stream.close()))
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }

  // --- Writes ---

  /** Makes the user known; again and again, if need be. */
  async login(options?: WriteOptions): Promise<Acknowledgement> {
    return (await this.#requests.write("login", { user: this.user }, options)).acknowledgement()
  }

  /** Makes a channel. `Refused` with code `name_taken` says that there is one of this name already, or a user. */
  async createChannel(channel: string, options?: WriteOptions): Promise<Acknowledgement> {
    return (await this.#requests.write("channel", { channel }, options)).acknowledgement()
  }

  /** Posts to a channel. */
  async post(channel: string, text: string, options?: WriteOptions): Promise<Acknowledgement> {
    return (await this.#requests.write("publish", { user: this.user, channel, message: text }, options)).acknowledgement()
  }

  /** Sends a direct message to another user. */
  async send(to: string, text: string, options?: WriteOptions): Promise<Acknowledgement> {
    return (await this.#requests.write("message", { src: this.user, dst: to, message: text }, options)).acknowledgement()
  }

  // --- Reads ---

  /** Everybody who ever logged in. */
  async users(options?: CallOptions): Promise<string[]> {
    return (await this.#requests.read("users", {}, options)).names("users")
  }

  async channels(options?: CallOptions): Promise<string[]> {
    return (await this.#requests.read("channels", {}, options)).names("channels")
  }

  /** A page of a channel's history; without a channel of this user's direct messages, sent and received. */
  async history(channel?: string, { cursor, limit, signal }: HistoryOptions = {}): Promise<Page> {
    const scope = channel === undefined ? { user: this.user } : { channel }
    const from = { ...(cursor && { papo_cursor: cursor }), ...(limit !== undefined && { limit }) }
    return (await this.#requests.read("history", { ...scope, ...from }, { signal })).page()
  }

  /** All messages after the cursor, oldest first, to the end of the history as it stands. */
  async *read(channel?: string, options: HistoryOptions = {}): AsyncGenerator<Message, void, undefined> {
    let { cursor = new Uint8Array() } = options
    for (;;) {
      const page = await this.history(channel, { ...options, cursor })
      yield* page.messages
      if (!page.more) return
      cursor = page.cursor
    }
  }

  // --- Live ---

  /** A stream of what is said in these channels, and with `direct` of direct messages to this user; each message once. */
  async listen(channels: readonly string[], options: ListenOptions = {}): Promise<Stream> {
    const { direct = false, bookmark, fromStart = false, onTrouble = () => {} } = options
    const scopes = new Map<string, Fields>(channels.map((channel) => [channel, { channel }]))
    if (direct) scopes.set(this.user, { user: this.user })
    if (scopes.size === 0) throw new TypeError("nothing to listen to: name channels, or say direct: true")
    if (scopes.size > TOPICS_MAX) throw new TypeError(`${scopes.size} topics; a subscriber may have ${TOPICS_MAX}: open several streams`)
    const stream = await Stream.open({
      user: this.user,
      proxies: new Rotation(this.#proxies),
      chatRequests: this.#requests,
      requests: new Requests(this.#settings, this.#clock),
      clock: this.#clock,
      scopes,
      marks: bookmark === undefined ? new Map() : marksOf(bookmark, this.user),
      fromStart,
      onTrouble,
    })
    if (this.#requests.isClosed) {
      await stream.close()
      throw new Closed("the chat is closed")
    }
    this.#streams = [...this.#streams.filter((other) => !other.isClosed), stream]
    return stream
  }
}
