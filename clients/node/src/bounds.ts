/** Every bound and pause of the library, each with its reason. Times are in milliseconds. */

/** How long one attempt waits for its reply: a broker that lives answers within ten seconds. */
export const REPLY_MS = 12_000
/** How long a request is repeated in all: two whole attempts, and a new connection between them. */
export const DEADLINE_MS = 30_000
/** How long one attempt to connect and to shake hands may take. */
export const CONNECT_MS = 2_000
/** How often a connection is asked whether its peer lives. A process that hangs keeps its TCP connections. */
export const HEARTBEAT_MS = 2_000
/** A connection whose peer says nothing for so long is given up. */
export const HEARTBEAT_DEAD_MS = 4_000
/**
 * libzmq would connect again by itself after so long; by then the socket is closed. Never (-1) is not safe: libzmq 4.3.5 then ends the
 * program (`Assertion failed: !_more (src/fq.cpp:80)`) when a connection is lost between two frames of a message that is being received.
 */
export const RECONNECT_MS = 3_600_000
/** The first pause after all addresses have failed; doubled each time, and varied by chance. */
export const BACKOFF_MIN_MS = 50
/** The longest such pause. */
export const BACKOFF_MAX_MS = 2_000
/** The longest that Node's timers wait; what is longer they end at once. */
export const TIMER_MS_MAX = 2 ** 31 - 1
/** The pause before a request is repeated whose refusal says that this may help; varied by chance. */
export const REPEAT_MS = 500
/** Requests of one chat that may wait for their turn. */
export const WAITING_MAX = 1024
/** The largest request that papo takes unless told otherwise (`limits.requestBytes`). */
export const REQUEST_BYTES_MAX = 1 << 20
/** The largest reply or publication that is read. papo's replies have at most 4 MiB. */
export const MESSAGE_BYTES_MAX = 16 << 20
/** What one subscriber may follow; a proxy allows no more. */
export const TOPICS_MAX = 4096
/** Messages in a page of a history that a stream asks for. */
export const PAGE_MESSAGES = 200
/** Messages of a stream that may wait for the program. While they do, nothing more is taken from the network. */
export const OUTBOX_MAX = 1024
/** Live messages that may wait until a history is read up to them. More are left to the history. */
export const HELD_MAX = 4096
/** Live messages that may be handed out before a history confirms them. More are left to the history. */
export const AHEAD_MAX = 16_384
/** So many live messages, and the histories are read on: long before `AHEAD_MAX`. */
export const READ_AFTER = 4096
/** Identities in each half of the memory of what histories gave: some 3 MiB each when full. A live copy comes at most a minute late. */
export const SEEN_GENERATION = 32_768
/** Starts of servers of which a stream remembers how far they are read: more than publish within a minute. */
export const COVERED_MAX = 64
/** From a new subscription until the histories are read on: by then it has reached the proxy. */
export const SETTLE_MS = 1_000
/** How often the histories are read on while all is well; up to a fifth more, by chance. */
export const READ_EVERY_MS = 30_000
/** How soon again when a message was missed, nobody answered, or no proxy is there. */
export const READ_AGAIN_MS = 2_000
