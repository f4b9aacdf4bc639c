/** What travels (docs/wire.md): requests are written, replies and publications read. Knows no sockets and no time. */
import { decode, encode } from "@msgpack/msgpack"
import { BadReply } from "./errors.js"

/** The place in the total order in which all servers keep all messages, compared in the order of its fields. */
export interface Position {
  readonly lamport: number
  readonly server: string
  readonly boot: string
  readonly seq: number
}

/** A write that is stored as `durability` of the cluster promises. Every repetition of the same write has the same `messageId`. */
export interface Acknowledgement {
  /** 32 hexadecimal digits. */
  readonly messageId: string
  readonly position: Position
  /** On how many members' disks it was known to be when it was answered. */
  readonly durable: { readonly fsynced: number; readonly of: number }
  /** The servers' time, in seconds since 1970. */
  readonly timestamp: number
}

/** A post to a channel, or a direct message: then it has a recipient, `to`, in place of `channel`. */
export interface Message {
  /** 32 hexadecimal digits. */
  readonly messageId: string
  readonly author: string
  readonly text: string
  readonly channel?: string
  readonly to?: string
  /** The author's own value as it came; of this library's clients the servers' time, in seconds since 1970. */
  readonly timestamp: number | string
  readonly clock: number
  readonly position: Position
}

/** Some messages of a history, oldest first. `cursor` stands after them, and `more` says whether others follow already. */
export interface Page {
  readonly messages: readonly Message[]
  readonly cursor: Uint8Array
  readonly more: boolean
}

/** The first byte of a map in JSON; in MessagePack it is a number. */
const OPENING_BRACE = 0x7b

export type Fields = Readonly<Record<string, unknown>>

/** Without a timestamp: then a post bears the time on which the servers agree. */
export function writeRequest(service: string, fields: Fields, clock: number, requestId?: Uint8Array): Uint8Array {
  return encode({ service, data: { ...fields, clock, ...(requestId && { papo_id: requestId }) } })
}

/** A reply's `data`, read as it is asked for. What is missing or of another type makes it a `BadReply`. */
export class Reply {
  readonly #data: Fields

  constructor(body: Uint8Array) {
    this.#data = map(map(unpack(body))["data"])
  }

  get clock(): number {
    const clock = this.#data["clock"]
    return typeof clock === "number" ? clock : 0
  }

  get isRefusal(): boolean {
    return this.#data["status"] === "erro"
  }

  get code(): string {
    return text(this.#data["code"] ?? "unknown_service")
  }

  get retry(): boolean {
    return this.#data["retry"] === true
  }

  get description(): string {
    return text(this.#data["description"] ?? "")
  }

  names(key: string): string[] {
    return list(this.#data[key]).map(text)
  }

  acknowledgement(): Acknowledgement {
    const durable = map(this.#data["durable"])
    return {
      messageId: identity(this.#data["message_id"]),
      position: position(this.#data["position"]),
      durable: { fsynced: whole(durable["fsynced"]), of: whole(durable["of"]) },
      timestamp: whole(this.#data["timestamp"]),
    }
  }

  page(): Page {
    const cursor = this.#data["papo_cursor"]
    if (!(cursor instanceof Uint8Array)) throw new BadReply("a history without a cursor: no papo, or thousands of starts of servers wrote in it")
    // A copy: what MessagePack gives is a window on the whole reply.
    return { messages: list(this.#data["messages"]).map(readMessage), cursor: cursor.slice(), more: this.#data["more"] === true }
  }
}

/** The second frame of a publication: MessagePack, or JSON where the cluster's `compat.jsonPublications` says so. */
export function readPublication(body: Uint8Array): Message {
  return readMessage(body[0] === OPENING_BRACE ? readJson(body) : unpack(body))
}

/** A publication's body, or an entry of a history. */
export function readMessage(entry: unknown): Message {
  const fields = map(entry)
  const { channel, dst, timestamp } = fields
  if ((channel === undefined) === (dst === undefined)) throw new BadReply("a message that names not one of channel and recipient")
  if (typeof timestamp !== "number" && typeof timestamp !== "string") throw new BadReply(`a message's timestamp is ${shortened(timestamp)}`)
  return {
    messageId: identity(fields["message_id"]),
    author: text(fields["user"]),
    text: text(fields["message"]),
    ...(channel === undefined ? { to: text(dst) } : { channel: text(channel) }),
    timestamp,
    clock: whole(fields["clock"]),
    position: position(fields["position"]),
  }
}

/** With the identity as bytes, as MessagePack has it. */
function readJson(body: Uint8Array): Fields {
  let read: unknown
  try {
    read = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(body))
  } catch (error) {
    throw new BadReply(`no JSON: ${error}`, { cause: error })
  }
  const fields = map(read)
  return { ...fields, message_id: Buffer.from(text(fields["message_id"]), "base64url") }
}

function unpack(body: Uint8Array): unknown {
  try {
    return decode(body)
  } catch (error) {
    throw new BadReply(`no MessagePack: ${error}`, { cause: error })
  }
}

function map(value: unknown): Fields {
  if (typeof value !== "object" || value === null || Array.isArray(value) || ArrayBuffer.isView(value)) throw missing("a map", value)
  return value as Fields
}

function list(value: unknown): unknown[] {
  if (!Array.isArray(value)) throw missing("a list", value)
  return value
}

function text(value: unknown): string {
  if (typeof value !== "string") throw missing("a text", value)
  return value
}

function whole(value: unknown): number {
  if (!Number.isSafeInteger(value)) throw missing("a whole number", value)
  return value as number
}

function identity(value: unknown): string {
  if (!(value instanceof Uint8Array) || value.length !== 16) throw missing("an identity of 16 bytes", value)
  return Buffer.from(value).toString("hex")
}

function position(value: unknown): Position {
  const fields = map(value)
  return { lamport: whole(fields["lamport"]), server: text(fields["server"]), boot: text(fields["boot"]), seq: whole(fields["seq"]) }
}

function missing(what: string, value: unknown): BadReply {
  return new BadReply(`${what} is missing where ${shortened(value)} stands`)
}

function shortened(value: unknown): string {
  const text = JSON.stringify(value) ?? String(value)
  return text.length <= 40 ? text : `${text.slice(0, 40)}...`
}
