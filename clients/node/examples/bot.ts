/**
 * A bot that answers each direct message once, also when it is killed and started again in between.
 *
 * Two things make it so. Its bookmark, kept in a file, says which messages it has dealt with. And an answer's requestId is the messageId
 * of what it answers: if it was killed after answering and before keeping the bookmark, it answers again, and the servers store that once.
 *
 *     node build/examples/bot.js --user echo --bookmark echo.bookmark
 */
import { existsSync } from "node:fs"
import { open, readFile, rename } from "node:fs/promises"
import { parseArgs } from "node:util"
import { Chat, Refused } from "../src/index.js"

const { values } = parseArgs({
  options: {
    user: { type: "string", default: "echo" },
    bookmark: { type: "string" },
    broker: { type: "string", multiple: true, default: ["127.0.0.1:5555"] },
    proxy: { type: "string", multiple: true, default: ["127.0.0.1:5558"] },
  },
})
const { user, bookmark: path, broker, proxy } = values
if (path === undefined) throw new Error("--bookmark FILE says where it keeps what it has dealt with")

/** Whole or not at all: written beside it, and then put in its place. */
async function keep(bookmark: string, path: string): Promise<void> {
  const file = await open(`${path}.new`, "w")
  try {
    await file.writeFile(bookmark)
    await file.sync()
  } finally {
    await file.close()
  }
  await rename(`${path}.new`, path)
}

const chat = await Chat.open(user, { brokers: broker, proxies: proxy })
const bookmark = existsSync(path) ? await readFile(path, "utf8") : undefined
const stream = await chat.listen([], { direct: true, bookmark, fromStart: true })
console.log("ready")
for await (const { author, text, messageId } of stream) {
  if (author !== user) {
    await chat.send(author, `you said: ${text}`, { requestId: Buffer.from(messageId, "hex") }).catch((error: unknown) => {
      // An author need not have logged in: then nobody of this name can be answered.
      if (!(error instanceof Refused && error.code === "unknown_user")) throw error
    })
  }
  await keep(stream.bookmark(), path)
}
