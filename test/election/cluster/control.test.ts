import { execFile } from 'node:child_process'
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'

interface Report {
  readonly testResults: readonly { readonly assertionResults: readonly { fullName: string; status: string }[] }[]
}

/** Runs the conformance suite over a store with this mistake and returns the tests that passed and failed. */
async function run(mistake: string, titlePattern: string): Promise<{ passed: string[]; failed: string[] }> {
  const folder = await mkdtemp(join(tmpdir(), 'concordat-control-'))
  const output = join(folder, 'report.json')
  const root = join(import.meta.dirname, '..', '..', '..')
  const vitest = join(root, 'node_modules', 'vitest', 'vitest.mjs')
  const config = join(import.meta.dirname, '..', 'fixtures', 'vitest.config.ts')
  const args = [vitest, 'run', '--config', config, '--reporter=json', '--outputFile', output, '-t', titlePattern]
  const env = { ...process.env, CLUSTER_MISTAKE: mistake }
  try {
    await new Promise((resolve) => execFile(process.execPath, args, { cwd: root, env }, resolve))
    const report = JSON.parse(await readFile(output, 'utf8')) as Report
    const cases = report.testResults.flatMap(({ assertionResults }) => assertionResults)
    const named = (status: string): string[] =>
      cases.filter((each) => each.status === status).map((each) => each.fullName)
    return { passed: named('passed'), failed: named('failed') }
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
}

const CONTROLS = [
  ['ignores versions', 'writes only over the version that was named'],
  ['forgets requests', 'is executed once, and gets its revision'],
  ['confirms anybody', 'that was declared dead is refused'],
  ['skips entries', 'then tells every change, in order, once'],
  ['tells a transaction in parts', 'delivers a transaction whole'],
  ['takes nothing back', 'survives a store that loses everything'],
] as const

describe('the cluster conformance suite', { timeout: 180_000 }, () => {
  it('accepts the store of the controls when no mistake is built in', async () => {
    const titles = CONTROLS.map(([, title]) => title)
    const { passed, failed } = await run('none', titles.join('|'))
    expect(failed).toEqual([])
    expect(passed).toHaveLength(CONTROLS.length)
  })

  it.for(CONTROLS)('refuses a store that %s', async ([mistake, title]) => {
    const { failed } = await run(mistake, title)
    expect(failed.join()).toContain(title)
  })
})
