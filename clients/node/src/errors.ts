/** What can go wrong, each error with what to do about it. */

const REMEDIES: Readonly<Record<string, string>> = {
  bad_request: "Correct the field that the text names.",
  too_large: "Send a shorter text, or raise limits.requestBytes in the manifest.",
  unknown_service: "Is this a broker of papo, and of this version?",
  unknown_user: "A user exists after a first login.",
  unknown_channel: "Make the channel first, with createChannel().",
  name_taken: "If it is yours: a channel that exists can be used, and a login is repeated with its first requestId.",
  reserved_name: "Choose another name.",
  frozen_channel: "A user has this channel's name: read it, and post to another.",
  unknown: "It may still come to be: repeat it with the same requestId.",
  no_server: "Too few servers are up: `papo status` shows them. Repeat it with the same requestId.",
  cursor_invalid: "The cursor is of another channel, user or cluster: begin without one.",
  cursor_ahead: "The servers do not show yet what was read before. If they have lost it, begin without a cursor.",
}

/** Everything that this library throws by itself. */
export class PapoError extends Error {
  constructor(message: string, options?: ErrorOptions) {
    super(message, options)
    this.name = new.target.name
  }
}

/** The chat or the stream is closed. */
export class Closed extends PapoError {}

/** Too many requests of this chat wait for their turn. Await some of them before asking more. */
export class Overloaded extends PapoError {}

/** The request is over the bound on its size, and was not sent. */
export class TooLarge extends PapoError {}

/** Something answered that does not speak papo's protocol. Do the addresses name brokers of papo? */
export class BadReply extends PapoError {}

/**
 * The servers understood, and answered `erro`.
 *
 * `code` is for programs (docs/wire.md, section 3, lists them); `retry` says whether the same request may be repeated with hope, which was
 * then done until the deadline; a write is repeated by the program with the same `requestId`.
 */
export class Refused extends PapoError {
  constructor(
    readonly service: string,
    readonly code: string,
    readonly retry: boolean,
    readonly description: string,
    readonly requestId?: Uint8Array,
  ) {
    super(`${service} was refused (${code}): ${description.replace(/\.$/, "")}. ${REMEDIES[code] ?? ""}`.trimEnd())
  }
}

/** Nobody answered before the deadline. A write may have been carried out: repeated with the same `requestId` it is done once. */
export class NoAnswer extends PapoError {
  constructor(
    readonly service: string,
    milliseconds: number,
    cause: string,
    readonly requestId?: Uint8Array,
  ) {
    const unsure = requestId === undefined ? "" : " It may have been carried out: repeat it with the same requestId."
    super(`${service}: no answer within ${milliseconds / 1000} s (last: ${cause}). Is a broker running there?${unsure}`, { cause })
  }
}
