/**
 * How far a place is read, and what of it is still to be handed out: each message once, whether it comes live, in a page, or both.
 *
 * A place is a channel, or a user's direct messages. Live messages are fast and may be lost; a history, read from cursor to cursor, gives
 * each message once. A message that came live is remembered until a page confirms it, so that no page gives it again, however long that
 * takes. One that a page gave is remembered for as long as its live copy may be on the way: a proxy that has just started may be sent, and
 * pass on, what is a minute old. Knows no sockets and no time.
 */
import { AHEAD_MAX, COVERED_MAX, HELD_MAX } from "./bounds.js"
import { Seen } from "./seen.js"
import type { Message, Page, Position } from "./wire.js"

/**
 * By server and its start (`boot`), the last of its messages that a page gave; those before it were given too, for a page holds what one
 * server wrote in the order in which it was written. This only helps to leave out late live copies: what it says never keeps a page from
 * giving a message.
 */
export type Covered = ReadonlyMap<string, number>

/** Where a reader goes on, after a restart of its program too: it has all that the cursor covers, and of what follows that. */
export interface Mark {
  readonly cursor: Uint8Array
  readonly beyond: ReadonlySet<string>
  readonly covered: Covered
}

/** Where a reader stands that has read nothing else. */
export function markAt(cursor: Uint8Array): Mark {
  return { cursor, beyond: new Set(), covered: new Map() }
}

/** Stands behind the messages of a page in the order of handing out: the reader has all of it now. */
export class Passed {
  constructor(
    readonly cursor: Uint8Array,
    readonly confirmed: readonly string[],
    readonly covered: Covered,
  ) {}
}

/** One place. It begins behind, and live messages wait until a page was the last, so that what was said before comes first. */
export class Reading {
  cursor: Uint8Array
  behind = true
  /** Handed out live, and in no page yet. */
  readonly #ahead: Set<string>
  /** Live messages that wait. */
  readonly #held = new Map<string, Message>()
  readonly #given = new Seen()
  readonly #covered: Map<string, number>
  /** Whether live messages were left out for want of room: only a page can bring them. */
  #leftOut = false

  constructor(mark: Mark) {
    this.cursor = mark.cursor
    this.#ahead = new Set(mark.beyond)
    this.#covered = new Map(mark.covered)
  }

  /** What is to be handed out now. */
  onLive(message: Message): Message[] {
    const identity = message.messageId
    if (this.#ahead.has(identity) || this.#given.has(identity) || this.#isCovered(message)) return []
    const hasRoom = this.behind ? this.#held.size < HELD_MAX : this.#ahead.size < AHEAD_MAX
    if (!hasRoom) {
      this.#leftOut = true
      return []
    }
    if (this.behind) {
      this.#held.set(identity, message)
      return []
    }
    this.#ahead.add(identity)
    return [message]
  }

  /** What is to be handed out now of the page that follows the cursor; after its last, what waited for it. */
  onPage(page: Page): (Message | Passed)[] {
    const handOut: (Message | Passed)[] = []
    for (const message of page.messages) {
      const identity = message.messageId
      if (!this.#ahead.delete(identity)) {
        this.#held.delete(identity)
        handOut.push(message)
      }
      this.#given.add(identity)
      this.#cover(message)
    }
    handOut.push(new Passed(page.cursor, page.messages.map(({ messageId }) => messageId), new Map(this.#covered)))
    this.cursor = page.cursor
    // Once more at least, if something was left out that this page need not have held.
    this.behind = page.more || this.#leftOut
    this.#leftOut = false
    if (!this.behind) {
      for (const [identity, message] of this.#held) {
        this.#ahead.add(identity)
        handOut.push(message)
      }
      this.#held.clear()
    }
    return handOut
  }

  #isCovered({ position }: Message): boolean {
    return (this.#covered.get(startOf(position)) ?? -1) >= position.seq
  }

  #cover({ position }: Message): void {
    const start = startOf(position)
    // The newest last, so that the oldest is forgotten.
    this.#covered.delete(start)
    this.#covered.set(start, position.seq)
    const [oldest] = this.#covered.keys()
    if (this.#covered.size > COVERED_MAX && oldest !== undefined) this.#covered.delete(oldest)
  }
}

/** One start of one server. */
function startOf({ server, boot }: Position): string {
  return `${boot} ${server}`
}

/** The same as the program has it, which may be behind by what still waits for it. */
export class HandedOut {
  #cursor: Uint8Array
  #covered: Covered
  readonly #beyond: Set<string>

  constructor(mark: Mark) {
    this.#cursor = mark.cursor
    this.#covered = mark.covered
    this.#beyond = new Set(mark.beyond)
  }

  on(item: Message | Passed): void {
    if (item instanceof Passed) {
      this.#cursor = item.cursor
      this.#covered = item.covered
      for (const identity of item.confirmed) this.#beyond.delete(identity)
    } else {
      this.#beyond.add(item.messageId)
    }
  }

  mark(): Mark {
    return { cursor: this.#cursor, beyond: new Set(this.#beyond), covered: this.#covered }
  }
}
