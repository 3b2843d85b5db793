/** The programs in the documentation, each run from the packed package in an empty project, on one version of Node. */
import { execFile } from 'node:child_process'
import { rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { afterAll, beforeAll, describe, it } from 'vitest'
import { makingDatabases } from '../../support/pglite-copy.ts'
import { nodeBinary } from './node-versions.ts'
import { readSnippets } from './snippets.ts'
import { install, manifest, type Packed, pack } from './tarball.ts'

export async function describeSnippets(version: string): Promise<void> {
  const snippets = await readSnippets()
  const binary = await nodeBinary(version).catch((error: unknown) => new Error(`Node ${version}: ${String(error)}`))

  describe(`snippets in the documentation, from the packed package in an empty project, on Node ${version}`, () => {
    if (binary instanceof Error) {
      const mustRun = process.env['CONCORDAT_REQUIRE_SERVERS'] === '1'
      it.skipIf(!mustRun)(`needs ${binary.message.split('\n', 1).join()}`, () => {
        throw binary
      })
      return
    }
    let packed: Packed
    let project: string

    beforeAll(async () => {
      packed = await pack()
      const imported = snippets.flatMap(({ code }) => [...code.matchAll(/from '(?<name>(?:@[\w-]+\/)?[\w-]+)/g)])
      const names = new Set(imported.map(({ groups }) => groups?.['name'] ?? ''))
      const peers = [...names].filter((name) => name !== 'concordat' && name in manifest.devDependencies)
      project = await install(packed, 'snippets', peers)
      for (const { file, code } of snippets) await writeFile(join(project, file), code)
    }, 180_000)
    afterAll(() => rm(packed.folder, { recursive: true, force: true }))

    // Each is a process of its own, so two of them keep both cores busy.
    it.concurrent.for(snippets)(
      '$title prints what the page says',
      { timeout: 120_000 },
      async ({ file, code, prints }, { expect }) => {
        // With hooks for modules in its process, Node 22.18 fails to load what Express requires, so it gets none.
        const env = code.includes("from 'express'") ? makingDatabases() : process.env
        const { stdout } = await promisify(execFile)(binary, ['--no-warnings', join(project, file)], { env })
        expect(stdout).toBe(prints)
      },
    )
  })
}
