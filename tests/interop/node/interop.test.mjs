// zeromq.js against a whole cluster: `papo local` on a temporary data folder, ended by its process id.
import assert from "node:assert/strict"
import { execFile, spawn } from "node:child_process"
import { mkdtemp, rm } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { after, before, test } from "node:test"
import { promisify } from "node:util"
import { encode, decode } from "@msgpack/msgpack"
import { Request } from "zeromq"

const BROKER = "tcp://127.0.0.1:5555"
const here = import.meta.dirname
const manifest = join(here, "../../../manifests/minimal.yaml")
// Not left to the cluster: papo warns of PAPO_ names that it does not know.
const { PAPO_BIN: papo = "papo", ...env } = process.env
let data, cluster

before(async () => {
  data = await mkdtemp(join(tmpdir(), "papo-node-"))
  cluster = spawn(papo, ["local", "-f", manifest, "--data", data], {
    env,
    stdio: ["ignore", "pipe", "pipe"],
  })
  let said = ""
  let giveUp
  try {
    await new Promise((resolve, reject) => {
      giveUp = setTimeout(() => reject(new Error("not ready within 30 s")), 30_000)
      const listen = (chunk) => {
        said += chunk
        if (/^ready in /m.test(said)) resolve()
      }
      cluster.stdout.on("data", listen)
      cluster.stderr.on("data", listen)
      cluster.once("exit", (code) => reject(new Error(`papo local ended with ${code}`)))
      cluster.once("error", reject)
    })
  } catch (error) {
    error.message += `:\n${said}`
    throw error
  } finally {
    clearTimeout(giveUp)
  }
}, { timeout: 60_000 })

after(async () => {
  if (cluster.pid !== undefined && cluster.exitCode === null) {
    const gone = new Promise((resolve) => cluster.once("exit", resolve))
    cluster.kill("SIGTERM")
    await gone
  }
  await rm(data, { recursive: true, force: true })
}, { timeout: 60_000 })

test("a13 a14 l01 l02: a client of a dozen lines does login, channel, lists, publish and direct message", { timeout: 60_000 }, async () => {
  const { stdout } = await promisify(execFile)(process.execPath, [join(here, "dozen_lines.mjs")], { timeout: 50_000 })
  assert.deepEqual(stdout.trim().split("\n"), [
    "sucesso sucesso",
    "[ 'salão' ] [ 'ágata' ] sucesso",
    "OK salão ágata oi",
    "OK salão ágata oi ágata bento tudo bem?",
  ])
})

test("strict decoders find 32-bit and 64-bit integers where they expect them", { timeout: 60_000 }, async () => {
  const client = new Request({ receiveTimeout: 20_000, linger: 0 })
  client.connect(BROKER)
  await client.send(encode({ service: "login", data: { user: "estrita", timestamp: 1234567890, clock: 7 } }))
  const { data: reply } = decode((await client.receive())[0])
  assert.equal(reply.status, "sucesso")
  assert.ok(Number.isSafeInteger(reply.timestamp) && Number.isSafeInteger(reply.clock) && reply.clock > 7)
  client.close()
})

test("a refusal carries a code, and the connection lives", { timeout: 60_000 }, async () => {
  const client = new Request({ receiveTimeout: 20_000, linger: 0 })
  client.connect(BROKER)
  for (const body of [new Uint8Array([0xc1]), encode({ service: "teleport", data: {} }), new TextEncoder().encode('{"service": ')]) {
    await client.send(body)
    const [answer] = await client.receive()
    const { data: reply } = body[0] === 0x7b ? JSON.parse(answer.toString()) : decode(answer)
    assert.equal(reply.status, "erro")
    assert.match(reply.code, /^(bad_request|unknown_service)$/)
  }
  await client.send(encode({ service: "ping", data: {} }))
  assert.equal(decode((await client.receive())[0]).data.pong, "OK")
  client.close()
})
