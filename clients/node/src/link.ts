/**
 * One connection of one ZeroMQ socket. It never comes back by itself: who holds it hears that it is lost, and makes another.
 *
 * libzmq connects again without a word, and then a REQ waits for ever for a reply that died with its broker. So its own reconnection is
 * put off until the link is long closed, its events are read, and heartbeats find a peer that hangs. Whatever ends a link closes its socket: that ends what waits on it.
 */
import { Request, Subscriber } from "zeromq"
import { CONNECT_MS, HEARTBEAT_DEAD_MS, HEARTBEAT_MS, MESSAGE_BYTES_MAX, RECONNECT_MS } from "./bounds.js"

const LOST: Readonly<Record<string, string>> = {
  "close": "cannot connect",
  "connect:retry": "cannot connect",
  "disconnect": "the connection was lost",
  "handshake:error:auth": "the peer refused the handshake",
  "handshake:error:other": "the handshake failed",
  "handshake:error:protocol": "the peer does not speak ZeroMQ",
}

const OPTIONS = {
  linger: 0,
  reconnectInterval: RECONNECT_MS,
  maxMessageSize: MESSAGE_BYTES_MAX,
  heartbeatInterval: HEARTBEAT_MS,
  heartbeatTimeout: HEARTBEAT_DEAD_MS,
}

/** The connection is of no more use; the text says why. */
export class LinkLost extends Error {}

abstract class Link<S extends Request | Subscriber> {
  readonly #up: Promise<void>
  #reason: string | undefined

  protected constructor(
    protected readonly socket: S,
    address: string,
  ) {
    this.#up = this.#watch()
    // Whoever waits for it hears it too.
    this.#up.catch(() => {})
    socket.connect(address)
  }

  /** Waits for the handshake. */
  async up(signal?: AbortSignal): Promise<void> {
    await this.#within(CONNECT_MS, `no handshake within ${CONNECT_MS / 1000} s`, signal, this.#up)
  }

  /** Whoever waits on it hears that it is lost. */
  close(reason = "it was closed"): void {
    this.#reason ??= reason
    if (!this.socket.closed) this.socket.close()
  }

  /** What is done on the socket fails as the link does; it has so long, or any time. */
  async #within<T>(milliseconds: number | undefined, late: string, signal: AbortSignal | undefined, work: Promise<T>): Promise<T> {
    const onAbort = () => this.close("cancelled")
    const timer = milliseconds === undefined ? undefined : setTimeout(() => this.close(late), milliseconds)
    signal?.addEventListener("abort", onAbort)
    try {
      if (signal?.aborted) onAbort()
      return await work
    } catch (error) {
      signal?.throwIfAborted()
      throw new LinkLost(this.#reason ?? String(error), { cause: error })
    } finally {
      clearTimeout(timer)
      signal?.removeEventListener("abort", onAbort)
    }
  }

  protected within<T>(milliseconds: number | undefined, signal: AbortSignal | undefined, work: () => Promise<T>): Promise<T> {
    if (this.#reason !== undefined) return Promise.reject(new LinkLost(this.#reason))
    return this.#within(milliseconds, `no reply within ${Math.round((milliseconds ?? 0) / 1000)} s`, signal, work())
  }

  /** Resolves at the handshake, and goes on to read what happens to the connection. */
  #watch(): Promise<void> {
    const events = this.socket.events
    return new Promise((resolve, reject) => {
      const read = async () => {
        for (;;) {
          // Nothing, when the socket is closed.
          const event = events.closed ? undefined : await events.receive()
          if (event === undefined || event.type === "end") return
          if (event.type === "handshake") resolve()
          const lost = LOST[event.type]
          if (lost !== undefined) this.close(lost)
        }
      }
      read()
        .catch(() => {})
        .finally(() => {
          this.close()
          reject(new LinkLost(this.#reason))
        })
    })
  }
}

/** REQ with one connection. After any failure, and when it is cancelled, it is closed. */
export class RequestLink extends Link<Request> {
  constructor(address: string) {
    super(new Request(OPTIONS), address)
  }

  /** One exchange. */
  async ask(body: Uint8Array, milliseconds: number, signal?: AbortSignal): Promise<Uint8Array> {
    const [reply] = await this.within(milliseconds, signal, async () => {
      await this.socket.send(body)
      return this.socket.receive()
    })
    return reply as Uint8Array
  }
}

/** SUB with one connection. */
export class SubscriberLink extends Link<Subscriber> {
  constructor(address: string, topics: Iterable<string>) {
    const socket = new Subscriber(OPTIONS)
    socket.subscribe(...topics)
    super(socket, address)
  }

  /** The next message, for which it waits as long as the peer lives. */
  receive(): Promise<Buffer[]> {
    return this.within(undefined, undefined, () => this.socket.receive())
  }
}
