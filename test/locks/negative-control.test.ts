import { execFile } from 'node:child_process'
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'

interface Report {
  readonly testResults: readonly { readonly assertionResults: readonly { fullName: string; status: string }[] }[]
}

/** What passed and failed when the conformance suite ran over a store with this mistake. */
async function run(fixture: string, titlePattern: string): Promise<{ passed: string[]; failed: string[] }> {
  const folder = await mkdtemp(join(tmpdir(), 'concordat-control-'))
  const output = join(folder, 'report.json')
  const root = join(import.meta.dirname, '..', '..')
  const config = join(import.meta.dirname, 'fixtures', 'vitest.config.ts')
  const vitest = join(root, 'node_modules', 'vitest', 'vitest.mjs')
  const args = [
    vitest,
    'run',
    '--config',
    config,
    '--reporter=json',
    '--outputFile',
    output,
    '-t',
    titlePattern,
    fixture,
  ]
  try {
    await new Promise((resolve) => execFile(process.execPath, args, { cwd: root }, resolve))
    const report = JSON.parse(await readFile(output, 'utf8')) as Report
    const cases = report.testResults.flatMap(({ assertionResults }) => assertionResults)
    const named = (status: string): string[] =>
      cases.filter((each) => each.status === status).map((each) => each.fullName)
    return { passed: named('passed'), failed: named('failed') }
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
}

describe('the lock conformance suite', { timeout: 180_000 }, () => {
  it('accepts the store of the controls when no mistake is built in', async () => {
    const { passed, failed } = await run('none', 'granting|waiting')
    expect(failed).toEqual([])
    expect(passed.length).toBeGreaterThan(15)
  })

  it('refuses a store that frees locks of others', async () => {
    const { failed } = await run('frees-foreign-locks', 'whose clock stands still')
    expect(failed.join()).toContain(
      'does not let a holder whose clock stands still renew or free the lock of its successor',
    )
  })

  it('refuses a store whose tokens repeat', async () => {
    const { failed } = await run('repeats-tokens', 'rising tokens')
    expect(failed.join()).toContain('hands out strictly rising tokens')
  })

  it('refuses a store that lets newcomers overtake', async () => {
    const { failed } = await run('lets-newcomers-in', 'does not let a try overtake')
    expect(failed.join()).toContain('does not let a try overtake a waiter')
  })

  it('refuses a store that loses a turn with the waiter it was meant for', async () => {
    const { failed } = await run('loses-the-turn', 'passes the turn on')
    expect(failed.join()).toContain('passes the turn on when the one whose turn it is gives up in that moment')
  })

  it('accepts a store that takes the terms of claims as they are', async () => {
    const { passed, failed } = await run('no-mistake-in-modes', 'readers and writers|permits|delay')
    expect(failed).toEqual([])
    expect(passed.length).toBeGreaterThan(20)
  })

  it('refuses a store that does not count permits', async () => {
    const { failed } = await run('forgets-limits', 'as many as asked for')
    expect(failed.join()).toContain('are given to as many as asked for')
  })

  it('refuses a store that does not let readers in together', async () => {
    const { failed } = await run('keeps-readers-apart', 'lets readers in together')
    expect(failed.join()).toContain('lets readers in together')
  })

  it('refuses a store without the lock delay it declares', async () => {
    const { failed } = await run('forgets-the-delay', 'keeps others out')
    expect(failed.join()).toContain('a lock delay (exclusive) keeps others out')
    expect(failed.join()).toContain('a lock delay (shared) keeps others out')
  })
})
