/**
 * A tiny chat: what is typed is posted to a channel, `@ana oi` goes to ana alone, and what the others say is shown.
 *
 *     node build/examples/chat.js --user ana --channel geral
 */
import { createInterface } from "node:readline"
import { parseArgs } from "node:util"
import { Chat, Refused, type Stream } from "../src/index.js"

const { values } = parseArgs({
  options: {
    user: { type: "string" },
    channel: { type: "string", default: "geral" },
    broker: { type: "string", multiple: true, default: ["127.0.0.1:5555"] },
    proxy: { type: "string", multiple: true, default: ["127.0.0.1:5558"] },
  },
})
const { user, channel, broker, proxy } = values
if (user === undefined) throw new Error("--user NAME says who you are")

async function show(stream: Stream): Promise<void> {
  for await (const { author, channel, text } of stream) {
    if (author !== user) console.log(`${channel === undefined ? "(to you)" : `#${channel}`} ${author}: ${text}`)
  }
}

async function say(chat: Chat): Promise<void> {
  for await (const line of createInterface({ input: process.stdin })) {
    const [, to, text] = /^(?:@(\S+) )?(.*)$/.exec(line.trim()) ?? []
    try {
      if (to !== undefined) await chat.send(to, text ?? "")
      else if (text) await chat.post(channel, text)
    } catch (error) {
      if (!(error instanceof Refused)) throw error
      console.error(error.message)
    }
  }
}

const chat = await Chat.open(user, { brokers: broker, proxies: proxy })
try {
  if (!(await chat.channels()).includes(channel)) await chat.createChannel(channel)
  const stream = await chat.listen([channel], { direct: true })
  console.log(`you are ${user} in #${channel}; Ctrl-D leaves`)
  const showing = show(stream)
  await say(chat)
  await stream.close()
  await showing
} finally {
  await chat.close()
}
