// A socket of zeromq.js as a program, by the contract in ../python/socket_peers.py.
import { createInterface } from "node:readline"
import * as zmq from "zeromq"

const TOPIC = "news"
const PROBE = Buffer.from("probe")
const BEATS_MISSED = 5
const DEALER_WINDOW = 50
const TYPES = {
  REQ: zmq.Request, REP: zmq.Reply, DEALER: zmq.Dealer, ROUTER: zmq.Router,
  PUB: zmq.Publisher, SUB: zmq.Subscriber,
}

const [kind, verb, address, heartbeat] = process.argv.slice(2)
const socket = new TYPES[kind]({ linger: 0 })
if ("sendHighWaterMark" in socket) socket.sendHighWaterMark = 0
if ("receiveHighWaterMark" in socket) socket.receiveHighWaterMark = 0
if (Number(heartbeat)) {
  socket.heartbeatInterval = Number(heartbeat)
  socket.heartbeatTimeout = Number(heartbeat) * BEATS_MISSED
}
if (verb === "listen") await socket.bind(`tcp://${address}`)
else socket.connect(`tcp://${address}`)
console.log("ready")

function body(number, count, size) {
  const start = `${number} ${count} `
  return Buffer.from(start.padEnd(size, String.fromCharCode(97 + (number % 26))))
}

async function ask(count, size) {
  const [envelope, window] = kind === "DEALER" ? [[""], DEALER_WINDOW] : [[], 1]
  for (let first = 1; first <= count; first += window) {
    const last = Math.min(first + window - 1, count)
    for (let number = first; number <= last; number++) await socket.send([...envelope, body(number, count, size)])
    for (let number = first; number <= last; number++) {
      const answer = (await socket.receive()).at(-1)
      if (!answer.equals(body(number, count, size))) throw new Error(`answer ${number} of ${count} is another, or changed`)
    }
  }
  console.log(`ok ${count}`)
}

async function publish(count, size) {
  for (let number = 1; number <= count; number++) await socket.send([TOPIC, body(number, count, size)])
}

async function answer() {
  for await (const frames of socket) await socket.send(frames)
}

async function subscribe() {
  socket.subscribe(TOPIC)
  let heard = 0
  for await (const [topic, message] of socket) {
    if (topic.toString() !== TOPIC) throw new Error(`topic ${topic}`)
    if (message.equals(PROBE)) {
      console.log("probe")
      continue
    }
    heard += 1
    const count = Number(message.subarray(0, 32).toString().split(" ", 2)[1])
    if (!message.equals(body(heard, count, message.length))) throw new Error(`message ${heard} of ${count} is another, or changed`)
    if (heard === count) {
      heard = 0
      console.log(`ok ${count}`)
    }
  }
}

if (kind === "REP" || kind === "ROUTER") await answer()
if (kind === "SUB") await subscribe()
for await (const order of createInterface({ input: process.stdin })) {
  const [verb, count, size] = order.split(" ")
  if (verb === "probe") await socket.send([TOPIC, PROBE])
  else if (kind === "REQ" || kind === "DEALER") await ask(Number(count), Number(size))
  else await publish(Number(count), Number(size))
}
process.exit()
