// The conversation of ../conversation.py on zeromq.js: ZeroMQ, MessagePack and the exercise's formats, and nothing that knows papo.
import { createInterface } from "node:readline"
import { Request, Subscriber } from "zeromq"
import { encode, decode } from "@msgpack/msgpack"

const READY = "ready"
const [broker, proxy, ...sizes] = process.argv.slice(2)
let number = 0

class Person {
  requests = new Request()
  publications = new Subscriber({ receiveTimeout: 200 })
  clock = 0
  inOrder = true

  constructor() {
    this.requests.connect(broker)
    this.publications.connect(proxy)
  }

  async ask(service, data = {}) {
    this.clock += 1
    await this.requests.send(encode({ service, data: { ...data, timestamp: Math.floor(Date.now() / 1000), clock: this.clock } }))
    const reply = decode((await this.requests.receive())[0]).data
    this.inOrder &&= reply.clock > this.clock || reply.status === "erro"
    this.clock = Math.max(this.clock, reply.clock) + 1
    return reply
  }

  // Writes to itself until that is heard: then its subscriptions are in force.
  async subscribe(user, ...topics) {
    this.publications.subscribe(...topics, user)
    for (;;) {
      await this.ask("message", { src: user, dst: user, message: `${READY} ${user}` })
      for (let heard; (heard = await this.receive()); ) if (heard.message === `${READY} ${user}`) return
    }
  }

  // What comes next, or nothing when that takes a while.
  async receive() {
    try {
      const [topic, body] = await this.publications.receive()
      const { user, message, clock } = decode(body)
      this.clock = Math.max(this.clock, clock) + 1
      return { topic: topic.toString(), user, message }
    } catch (error) {
      if (error.code !== "EAGAIN") throw error
    }
  }

  async hear() {
    for (;;) {
      const heard = await this.receive()
      if (heard && !heard.message.startsWith(READY)) return heard
    }
  }
}

async function converse(alice, bob, name) {
  const [her, him, channel] = [`${name}-alice`, `${name}-bob`, `${name}-geral`]
  console.log("login", (await alice.ask("login", { user: her })).status, (await bob.ask("login", { user: him })).status)
  console.log("channel", (await alice.ask("channel", { channel })).status)
  const { channels } = await alice.ask("channels")
  const { users } = await alice.ask("users")
  console.log("listed", channels.includes(channel), users.includes(her) && users.includes(him))
  await alice.subscribe(her)
  await bob.subscribe(him, channel)
  for (const letters of sizes) {
    const text = `${++number} `.padEnd(Number(letters), "x")
    const reply = await alice.ask("publish", { user: her, channel, message: text })
    if (reply.status !== "OK") {
      console.log("publish", reply.status, reply.code)
      continue
    }
    const heard = await bob.hear()
    console.log("publish OK", heard.topic, heard.user, heard.message.length, heard.message === text)
  }
  const { status } = await bob.ask("message", { src: him, dst: her, message: "note" })
  const heard = await alice.hear()
  console.log("message", status, heard.topic, heard.user, heard.message)
  console.log("clocks", alice.inOrder && bob.inOrder)
  alice.publications.unsubscribe(her)
  bob.publications.unsubscribe(him, channel)
}

const people = [new Person(), new Person()]
for await (const line of createInterface({ input: process.stdin })) await converse(...people, line.trim())
process.exit()
