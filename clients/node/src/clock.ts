/** Lamport's clock (docs/wire.md, section 7), one for everything that a chat sends and receives. */
export class LamportClock {
  now = 0

  /** One more before each send. */
  onSend(): number {
    return (this.now += 1)
  }

  /** `max(own, received) + 1`; what is no count is ignored. */
  onReceive(received: number): void {
    if (Number.isSafeInteger(received) && received >= 0) this.now = Math.max(this.now, received) + 1
  }
}
