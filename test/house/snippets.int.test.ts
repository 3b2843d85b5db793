import { execFile } from 'node:child_process'
import { rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { makingDatabases } from '../support/pglite-copy.ts'
import { nodeBinary } from './support/node-versions.ts'
import { readSnippets } from './support/snippets.ts'
import { install, manifest, type Packed, pack } from './support/tarball.ts'

/** The lowest version that `engines` allows, and the newest with long-term support. */
const VERSIONS = ['22.18.0', '26.10.0']

const snippets = await readSnippets()
const binaries = new Map<string, string>()
const missing: string[] = []
for (const version of VERSIONS) {
  await nodeBinary(version).then(
    (binary) => binaries.set(version, binary),
    (error: unknown) => missing.push(`Node ${version}: ${String(error).split('\n', 1).join()}`),
  )
}

let packed: Packed
let project: string

beforeAll(async () => {
  packed = await pack()
  const imported = snippets.flatMap(({ code }) => [...code.matchAll(/from '(?<name>(?:@[\w-]+\/)?[\w-]+)/g)])
  const names = new Set(imported.map(({ groups }) => groups?.['name'] ?? ''))
  const peers = [...names].filter((name) => name in manifest.devDependencies)
  project = await install(packed, 'snippets', peers)
  for (const { file, code } of snippets) await writeFile(join(project, file), code)
}, 180_000)
afterAll(() => rm(packed.folder, { recursive: true, force: true }))

it('run on the lowest version of Node that the package allows', () => {
  expect(manifest.engines.node).toBe('>=22.18')
})

describe('snippets in the documentation, from the packed package in an empty project', { timeout: 120_000 }, () => {
  const mustRun = process.env['CONCORDAT_REQUIRE_SERVERS'] === '1'
  if (missing.length > 0) {
    it.skipIf(!mustRun)(`needs ${missing.join(' | ')}`, () => {
      throw new Error(missing.join('\n'))
    })
  }

  describe.for([...binaries])('Node %s', ([, binary]) => {
    // Each is a process of its own, so two of them keep both cores busy.
    it.concurrent.for(snippets)('$title prints what the page says', async ({ file, code, prints }, { expect: on }) => {
      // With hooks for modules in its process, Node 22.18 fails to load what Express requires, so it gets none.
      const env = code.includes("from 'express'") ? makingDatabases() : process.env
      const { stdout } = await promisify(execFile)(binary, ['--no-warnings', join(project, file)], { env })
      on(stdout).toBe(prints)
    })
  })
})
