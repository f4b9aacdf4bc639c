/** Which of several equal peers a connection goes to, and how long to wait before the next attempt. */
import { BACKOFF_MAX_MS, BACKOFF_MIN_MS } from "./bounds.js"

/** `host:port`, with or without `tcp://` before it, as ZeroMQ wants it. */
function addressOf(text: string): string {
  const bare = text.replace(/^tcp:\/\//, "")
  const port = Number(/^\S+:(\d{1,5})$/.exec(bare)?.[1])
  if (!(port > 0 && port < 2 ** 16)) throw new TypeError(`"${text}" is no address: write it as host:port, such as 127.0.0.1:5555`)
  return `tcp://${bare}`
}

/** One address as long as it serves; after a failure the next. When all have failed in turn, pauses grow. */
export class Rotation {
  readonly #addresses: readonly string[]
  #place = 0
  #failures = 0
  #pause = BACKOFF_MIN_MS

  constructor(addresses: readonly string[]) {
    this.#addresses = addresses.map(addressOf)
    if (this.#addresses.length === 0) throw new TypeError("no address is given: name at least one as host:port")
  }

  get current(): string {
    return this.#addresses[this.#place] as string
  }

  /** The current one serves. */
  served(): void {
    this.#failures = 0
    this.#pause = BACKOFF_MIN_MS
  }

  /** On to the next; says how many milliseconds to wait first. */
  failed(): number {
    this.#place = (this.#place + 1) % this.#addresses.length
    this.#failures += 1
    const pause = this.#pause
    if (this.#failures >= this.#addresses.length) {
      this.#failures = 0
      this.#pause = Math.min(2 * pause, BACKOFF_MAX_MS)
    }
    return pause * (0.5 + Math.random())
  }
}
