/** Which messages a history gave lately: their live copies may come later. */
import { SEEN_GENERATION } from "./bounds.js"

/** A bounded memory of identities. It forgets those that were added longest ago, half of them at once. */
export class Seen {
  #young = new Set<string>()
  #old = new Set<string>()

  add(identity: string): void {
    this.#young.add(identity)
    if (this.#young.size >= SEEN_GENERATION) {
      this.#old = this.#young
      this.#young = new Set()
    }
  }

  has(identity: string): boolean {
    return this.#young.has(identity) || this.#old.has(identity)
  }
}
