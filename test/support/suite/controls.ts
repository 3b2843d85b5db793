/**
 * Runs a conformance suite over adapters with a mistake, which it must refuse: one fixture each, `FOLDER/<mistake>.fixture.ts`, all
 * in one run of vitest. `FOLDER/patterns.json` says which tests of the suite each fixture runs.
 */
import { execFile } from 'node:child_process'
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { basename, join, resolve } from 'node:path'

/** Titles, with those of the enclosing blocks. */
export interface Outcome {
  readonly passed: readonly string[]
  readonly failed: readonly string[]
}

interface Report {
  readonly testResults: ReadonlyArray<{
    readonly name: string
    readonly assertionResults: ReadonlyArray<{ readonly fullName: string; readonly status: string }>
  }>
}

/** @returns the outcome of each fixture */
export async function runControls(folder: string): Promise<(mistake: string) => Outcome> {
  const temporary = await mkdtemp(join(tmpdir(), 'concordat-control-'))
  const output = join(temporary, 'report.json')
  const vitest = resolve('node_modules/vitest/vitest.mjs')
  const args = ['run', '--config', join(folder, 'vitest.config.ts'), '--reporter=json', '--outputFile', output]
  try {
    await new Promise((done) => execFile(process.execPath, [vitest, ...args], done))
    const { testResults } = JSON.parse(await readFile(output, 'utf8')) as Report
    return (mistake) => {
      const file = testResults.find(({ name }) => basename(name) === `${mistake}.fixture.ts`)
      const named = (status: string): string[] =>
        (file?.assertionResults ?? []).filter((each) => each.status === status).map(({ fullName }) => fullName)
      return { passed: named('passed'), failed: named('failed') }
    }
  } finally {
    await rm(temporary, { recursive: true, force: true })
  }
}
