/** The programs in the documentation, run from the packed package in an empty project, on one version of Node. */
import { fork } from 'node:child_process'
import { once } from 'node:events'
import { copyFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { makingDatabases } from '../../support/pglite-copy.ts'
import { nodeBinary } from './node-versions.ts'
import type { SnippetRun } from './snippet-runner.ts'
import { readSnippets, type Snippet } from './snippets.ts'
import { install, manifest, type Packed, pack } from './tarball.ts'

/** Two of them keep both cores busy. */
const PROCESSES = 2
const LIMIT_MS = 300_000

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
    const runs = new Map<string, SnippetRun>()

    beforeAll(async () => {
      packed = await pack()
      const imported = snippets.flatMap(({ code }) => [...code.matchAll(/from '(?<name>(?:@[\w-]+\/)?[\w-]+)/g)])
      const names = new Set(imported.map(({ groups }) => groups?.['name'] ?? ''))
      const peers = [...names].filter((name) => name !== 'concordat' && name in manifest.devDependencies)
      const project = await install(packed, 'snippets', peers)
      for (const { file, code } of snippets) await writeFile(join(project, file), code)
      await copyFile(join(import.meta.dirname, 'snippet-runner.ts'), join(project, 'snippet-runner.ts'))
      await Promise.all(shared(snippets).map((files) => runAll(binary, project, files, runs)))
    }, LIMIT_MS)
    afterAll(() => rm(packed.folder, { recursive: true, force: true }))

    it.for(snippets)('$title prints the page’s output, and ends', ({ file, prints }) => {
      expect(runs.get(file)).toEqual({ file, printed: prints })
    })
  })
}

/** Divides the programs among the processes. */
function shared(snippets: readonly Snippet[]): readonly (readonly Snippet[])[] {
  // With module hooks in its process, Node 22.18 fails to load a dependency of Express, so these snippets get no hooks.
  const apart = snippets.filter(({ code }) => code.includes("from 'express'"))
  const others = snippets.filter((snippet) => !apart.includes(snippet))
  const parts = Array.from({ length: PROCESSES }, (_, n) => others.filter((_each, i) => i % PROCESSES === n))
  return [...parts, ...apart.map((snippet) => [snippet])]
}

/** Runs programs in one process, and adds the output of each to `runs`. A program that ended the process is missing. */
async function runAll(
  binary: string,
  project: string,
  snippets: readonly Snippet[],
  runs: Map<string, SnippetRun>,
): Promise<void> {
  const env = snippets.some(({ code }) => code.includes("from 'express'")) ? makingDatabases() : process.env
  const files = snippets.map(({ file }) => file)
  const options = { cwd: project, env, execPath: binary, execArgv: ['--no-warnings'] }
  const child = fork(join(project, 'snippet-runner.ts'), files, options)
  child.on('message', (run) => {
    const each = run as SnippetRun
    runs.set(each.file, each)
  })
  await once(child, 'exit')
}
