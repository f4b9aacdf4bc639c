/**
 * A client of papo, the replicated chat service.
 *
 *     await using chat = await Chat.open("ana", { brokers: ["127.0.0.1:5555"], proxies: ["127.0.0.1:5558"] })
 *     const stream = await chat.listen(["geral"], { direct: true })
 *     await chat.post("geral", "bom dia!")
 *     for await (const message of stream) console.log(message.author, message.text)
 *
 * A post that was acknowledged is stored as safely as the cluster promises, and once. A stream gives each message once. Neither a server's
 * nor a broker's nor a proxy's death changes that; the program notices at most that an answer takes a few seconds.
 */
export { Chat, type ChatOptions, type HistoryOptions, type ListenOptions } from "./chat.js"
export { BadReply, Closed, NoAnswer, Overloaded, PapoError, Refused, TooLarge } from "./errors.js"
export type { CallOptions, WriteOptions } from "./requests.js"
export type { Stream } from "./stream.js"
export type { Acknowledgement, Message, Page, Position } from "./wire.js"
