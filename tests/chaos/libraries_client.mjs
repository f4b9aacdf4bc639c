// The clients in JavaScript of `libraries`, which says what they do: by orders on standard input, with what they saw in a file of JSON lines.
import { createWriteStream } from "node:fs"
import { createInterface } from "node:readline"
import { setTimeout as sleep } from "node:timers/promises"
import { Chat, PapoError, Refused } from "../../clients/node/dist/index.js"

const config = JSON.parse(process.argv[2])
const events = createWriteStream(config.events, { flags: "a" })
// How long half of the streams are open before another goes on from their bookmark.
const [OPEN_LEAST_MS, OPEN_MOST_MS] = [1000, 5000]

const note = (...event) => events.write(JSON.stringify(event) + "\n")
const now = () => Date.now() / 1000
const turned = (addresses, by) => [...addresses.slice(by), ...addresses.slice(0, by)]
const between = (least, most) => least + Math.random() * (most - least)
const oneOf = (items) => items[Math.floor(Math.random() * items.length)]

/** One user, that posts and listens. */
class Client {
  constructor(number, user, topics) {
    const turn = number % config.brokers.length
    this.chat = new Chat(user, { brokers: turned(config.brokers, turn), proxies: turned(config.proxies, turn) })
    this.user = user
    this.channels = topics.filter((topic) => topic !== user)
    this.reopens = number % 2 === 0
    this.ended = false
  }

  /** Until `ended`, with one stream or with many. */
  async listen(listening) {
    let bookmark
    while (!this.ended) {
      const stream = (this.stream = await this.chat.listen(this.channels, { direct: true, bookmark }))
      listening()
      const timer = this.reopens && setTimeout(() => stream.close(), between(OPEN_LEAST_MS, OPEN_MOST_MS))
      for await (const message of stream) {
        note("heard", now(), this.user, message.text, message.messageId, message.channel ?? message.to)
      }
      clearTimeout(timer)
      if (!this.ended) note("reopened", this.user)
      bookmark = stream.bookmark()
    }
  }

  async talk(isHushed) {
    for (let number = 0; !isHushed(); number++) {
      const toAll = Math.random() < 0.7
      const text = `${this.user}/${number} ${"x".repeat(between(0, 200))}`
      const target = oneOf(toAll ? config.channels : config.users)
      note("sent", now(), text, toAll ? "publish" : "message", target)
      const began = performance.now()
      try {
        const done = await (toAll ? this.chat.post(target, text) : this.chat.send(target, text))
        note("acknowledged", (performance.now() - began) / 1000, text, done.messageId)
      } catch (error) {
        if (!(error instanceof PapoError)) throw error
        note("problem", `${text.replace(/[x ]*$/, "")}: ${error}`)
      }
      await sleep(1000 * config.pause * between(0.5, 1.5))
    }
  }
}

const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]()
const order = async (expected) => {
  const { value } = await lines.next()
  if (value !== expected) throw new Error(`ordered ${value}, not ${expected}`)
}

const clients = Object.entries(config.listens).map(([user, topics], number) => new Client(number, user, topics))
for (const client of clients) await client.chat.login()
for (const channel of config.channels) {
  await clients[0].chat.createChannel(channel).catch((error) => {
    if (!(error instanceof Refused && error.code === "name_taken")) throw error
  })
}
note("known")
await order("listen")
let streams
await new Promise((allListen, reject) => {
  const waiting = new Set(clients)
  streams = clients.map((client) => client.listen(() => waiting.delete(client) && waiting.size === 0 && allListen()))
  Promise.all(streams).catch(reject)
})
note("listening")
await order("talk")
let hushed = false
const talks = clients.map((client) => client.talk(() => hushed))
await order("hush")
hushed = true
await Promise.all(talks)
note("hushed")
await order("read")
for (const client of clients) {
  client.ended = true
  await client.stream.close()
}
await Promise.all(streams)
for (const channel of config.channels) {
  const identities = []
  for await (const { messageId } of clients[0].chat.read(channel)) identities.push(messageId)
  note("read", channel, identities)
}
for (const client of clients) await client.chat.close()
note("done")
