/** What waits for the program: filled by several, emptied by one, and bounded. */
import { OUTBOX_MAX } from "./bounds.js"

/** Something that happens again and again, and that several may wait for. */
export class Signal {
  #waiters: (() => void)[] = []

  wait(): Promise<void> {
    return new Promise((resolve) => this.#waiters.push(resolve))
  }

  tell(): void {
    for (const resolve of this.#waiters.splice(0)) resolve()
  }
}

/**
 * Whoever fills it waits for `room()` first, and then puts, in one step, all that belongs together: so it may grow over its bound by that,
 * and no more.
 */
export class Outbox<T> {
  #items: T[] = []
  #taken = 0
  #failure: Error | undefined
  #ended = false
  readonly #filled = new Signal()
  readonly #emptied = new Signal()

  async room(): Promise<void> {
    while (this.#items.length - this.#taken >= OUTBOX_MAX && !this.#ended) await this.#emptied.wait()
  }

  put(items: readonly T[]): void {
    if (this.#ended) return
    this.#items.push(...items)
    this.#filled.tell()
  }

  /** Thrown by `get` once all is taken that came before it. */
  fail(failure: Error): void {
    this.#failure ??= failure
    this.#filled.tell()
  }

  /** From now on `get` gives nothing: what waits is not handed out. */
  end(): void {
    this.#ended = true
    this.#items = []
    this.#taken = 0
    this.#filled.tell()
    this.#emptied.tell()
  }

  /** The next; `undefined` after the end. */
  async get(): Promise<T | undefined> {
    for (;;) {
      if (this.#ended) return undefined
      if (this.#taken < this.#items.length) return this.#take()
      if (this.#failure !== undefined) throw this.#failure
      await this.#filled.wait()
    }
  }

  /** Taking from an array's front moves the rest: so it is cut now and then. */
  #take(): T {
    const item = this.#items[this.#taken] as T
    this.#taken += 1
    if (this.#taken >= OUTBOX_MAX || this.#taken === this.#items.length) {
      this.#items.splice(0, this.#taken)
      this.#taken = 0
    }
    this.#emptied.tell()
    return item
  }
}
