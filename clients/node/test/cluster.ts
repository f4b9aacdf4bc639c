/** `papo local` for tests: started on a temporary data folder, ended by its process id. */
import { type ChildProcess, spawn } from "node:child_process"
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { Chat } from "../src/index.js"

/** From build/test. */
export const HERE = fileURLToPath(new URL("../../", import.meta.url))
const MANIFEST = join(HERE, "../../manifests/minimal.yaml")
const READY_MS = 60_000

/** Where papo local puts what the manifest asks for. */
export const BROKERS = ["127.0.0.1:5555", "127.0.0.1:5802"]
export const PROXIES = ["127.0.0.1:5558", "127.0.0.1:5862"]
/** Where the first of the proxies speaks JSON. */
export const JSON_PROXY = "127.0.0.1:5560"

let number = 0
/** Of a user or channel that no other test has. */
export const name = (what: string): string => `${what}-${(number += 1)}`

export const openChat = (user = name("user")): Promise<Chat> => Chat.open(user, { brokers: BROKERS, proxies: PROXIES })

/** Whose `stop` ends it. */
export async function startCluster(): Promise<{ stop: () => Promise<void> }> {
  // Not left to the cluster: papo warns of PAPO_ names that it does not know.
  const { PAPO_BIN: papo = "papo", ...env } = process.env
  const data = await mkdtemp(join(tmpdir(), "papo-node-"))
  const manifest = join(data, "chatcluster.yaml")
  await writeFile(manifest, `${await readFile(MANIFEST, "utf8")}spec: {compat: {jsonPublications: alias}}\n`)
  const cluster = spawn(papo, ["local", "-f", manifest, "--data", data], { env, stdio: ["ignore", "pipe", "pipe"] })
  await ready(cluster)
  return {
    stop: async () => {
      const gone = new Promise((resolve) => cluster.once("exit", resolve))
      if (cluster.exitCode === null && cluster.kill("SIGTERM")) await gone
      await rm(data, { recursive: true, force: true })
    },
  }
}

function ready(cluster: ChildProcess): Promise<void> {
  let said = ""
  return new Promise((resolve, reject) => {
    const fail = (why: string) => reject(new Error(`papo local ${why}:\n${said}`))
    const late = setTimeout(() => fail("is not ready in time"), READY_MS)
    const listen = (chunk: Buffer) => {
      said += chunk
      if (/^ready in /m.test(said)) {
        clearTimeout(late)
        resolve()
      }
    }
    cluster.stdout?.on("data", listen)
    cluster.stderr?.on("data", listen)
    cluster.once("exit", (code) => fail(`ended with ${code}`))
    cluster.once("error", reject)
  })
}
