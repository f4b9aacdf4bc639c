// A chat client on zeromq.js, by the contract in ../python/test_languages.py.
// ZeroMQ, MessagePack and the exercise's formats, and nothing that knows papo.
import { Request, Subscriber } from "zeromq"
import { encode, decode } from "@msgpack/msgpack"

const READY = "ready"
const [broker, proxy, name, ...sizes] = process.argv.slice(2)
const [user, channel] = [`${name}-user`, `${name}-channel`]

const requests = new Request()
requests.connect(broker)
const publications = new Subscriber()
publications.connect(proxy)
publications.subscribe(user, channel)

async function ask(service, data = {}) {
  await requests.send(encode({ service, data: { ...data, timestamp: Math.floor(Date.now() / 1000) } }))
  return decode((await requests.receive())[0]).data
}

// Writes to itself until that is heard: then its subscriptions are in force.
async function untilSubscribed() {
  publications.receiveTimeout = 200
  for (;;) {
    await ask("message", { src: user, dst: user, message: READY })
    try {
      await publications.receive()
      break
    } catch (error) {
      if (error.code !== "EAGAIN") throw error
    }
  }
  publications.receiveTimeout = -1
}

async function hear() {
  for (;;) {
    const [topic, body] = await publications.receive()
    const { user, message } = decode(body)
    if (message !== READY) return { topic: topic.toString(), user, message }
  }
}

console.log("login", (await ask("login", { user })).status)
console.log("channel", (await ask("channel", { channel })).status)
console.log("listed", (await ask("channels")).channels.includes(channel), (await ask("users")).users.includes(user))
await untilSubscribed()

for (const letters of sizes) {
  const text = "x".repeat(Number(letters))
  const reply = await ask("publish", { user, channel, message: text })
  if (reply.status !== "OK") {
    console.log("publish", reply.status, reply.code)
    continue
  }
  const heard = await hear()
  console.log("publish", reply.status, heard.topic, heard.user, heard.message.length, heard.message === text)
}
const { status } = await ask("message", { src: user, dst: user, message: "note" })
const heard = await hear()
console.log("message", status, heard.topic, heard.user, heard.message)
process.exit()
