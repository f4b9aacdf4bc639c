// Two people chat in a dozen lines that know nothing of papo: only ZeroMQ, MessagePack and the exercise's formats.
import { Request, Subscriber } from "zeromq"
import { encode, decode } from "@msgpack/msgpack"

const [broker = "tcp://127.0.0.1:5555", proxy = "tcp://127.0.0.1:5558"] = process.argv.slice(2)

const connect = (socket, address) => (socket.connect(address), socket)
const subscribe = (...topics) => { const socket = connect(new Subscriber(), proxy); socket.subscribe(...topics); return socket }
const ask = async (socket, service, fields = {}) => {
  await socket.send(encode({ service, data: { ...fields, timestamp: Math.floor(Date.now() / 1000) } }))
  return decode((await socket.receive())[0]).data
}
const hear = async (socket) => {
  const [topic, body] = await socket.receive()
  return [topic.toString(), decode(body).user, decode(body).message]
}

const [alice, bob] = [connect(new Request(), broker), connect(new Request(), broker)]
const [aliceHears, bobHears] = [subscribe("salão", "ágata"), subscribe("salão", "bento")]
console.log((await ask(alice, "login", { user: "ágata" })).status, (await ask(alice, "channel", { channel: "salão" })).status)
console.log((await ask(alice, "channels")).channels, (await ask(alice, "users")).users, (await ask(bob, "login", { user: "bento" })).status)
await new Promise((resolve) => setTimeout(resolve, 1000)) // As long as any ZeroMQ subscriber gives its subscription to arrive.
console.log((await ask(alice, "publish", { user: "ágata", channel: "salão", message: "oi" })).status, ...(await hear(bobHears)))
console.log((await ask(bob, "message", { src: "bento", dst: "ágata", message: "tudo bem?" })).status, ...(await hear(aliceHears)), ...(await hear(aliceHears)))
process.exit()
