/** The package as a whole. That its types are strictly right, its compiler has said before any test runs. */
import assert from "node:assert/strict"
import { execFile } from "node:child_process"
import { readdir } from "node:fs/promises"
import { join } from "node:path"
import { test } from "node:test"
import { promisify } from "node:util"
import { HERE } from "./cluster.js"

test("its package holds code and types of each module, and nothing of the tests", { timeout: 60_000 }, async () => {
  const { stdout } = await promisify(execFile)("npm", ["pack", "--dry-run", "--json", "--silent"], { cwd: HERE })
  const [{ files }] = JSON.parse(stdout.slice(stdout.indexOf("["))) as [{ files: { path: string }[] }]
  const modules = (await readdir(join(HERE, "src"))).map((file) => file.replace(/\.ts$/, ""))
  const expected = [...modules.flatMap((module) => [`dist/${module}.js`, `dist/${module}.d.ts`]), "README.md", "package.json"]
  assert.deepEqual(files.map(({ path }) => path).sort(), expected.sort())
})
