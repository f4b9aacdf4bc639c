/** Connections that are lost at the worst moment. */
import assert from "node:assert/strict"
import { test } from "node:test"
import { XPublisher } from "zeromq"
import { LinkLost, SubscriberLink } from "../src/link.js"

const ROUNDS = 5
const MESSAGES = 2000

/** Once somebody listens, much at once; then the connection is closed, while the listener has most of it before it. */
async function publish(socket: XPublisher): Promise<void> {
  await socket.receive()
  for (let number = 0; number < MESSAGES; number++) await socket.send(["geral", `${number}`])
  socket.close()
}

test("a connection that is lost while messages wait is told to who waits, and no message is torn", { timeout: 60_000 }, async () => {
  let heard = 0
  for (let round = 0; round < ROUNDS; round++) {
    const publisher = new XPublisher({ linger: 1000, sendHighWaterMark: MESSAGES })
    await publisher.bind("tcp://127.0.0.1:*")
    const published = publish(publisher)
    const link = new SubscriberLink(publisher.lastEndpoint ?? "", ["geral"])
    await link.up()
    await assert.rejects(async () => {
      for (;;) {
        assert.equal((await link.receive()).length, 2)
        heard += 1
      }
    }, LinkLost)
    link.close()
    await published
  }
  assert.ok(heard > 0)
})
