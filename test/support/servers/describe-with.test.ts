import { spawnSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { describe, expect, onTestFinished, test } from 'vitest'

interface Report {
  readonly testResults: readonly {
    readonly assertionResults: readonly { readonly fullName: string; readonly status: string }[]
  }[]
}

const ROOT = fileURLToPath(new URL('../../..', import.meta.url))

/** Runs a file of integration tests on a machine that seems to have nothing installed. */
function runWithoutServers(env: Readonly<Record<string, string>> = {}) {
  const folder = mkdtempSync(join(tmpdir(), 'concordat-test-'))
  onTestFinished(() => rmSync(folder, { recursive: true }))
  const reportFile = join(folder, 'report.json')
  const vitest = join(ROOT, 'node_modules/vitest/vitest.mjs')
  const options = ['--project=int', '--reporter=json', `--outputFile=${reportFile}`]
  const { status: code } = spawnSync(process.execPath, [vitest, 'run', ...options, 'servers/main.int.test.ts'], {
    cwd: ROOT,
    env: { ...process.env, CONCORDAT_REQUIRE_SERVERS: '', CONCORDAT_SERVERS: 'none', ...env },
  })
  const report = JSON.parse(readFileSync(reportFile, 'utf8')) as Report
  const tests = report.testResults.flatMap((file) => file.assertionResults)
  return { code, tests: tests.map(({ fullName, status }) => ({ fullName, status })) }
}

const reason =
  'npm run servers needs ' +
  'redis: not looked for (CONCORDAT_SERVERS=none); install it (Debian: apt-get install redis-server), start Docker, or set REDIS_URL | ' +
  'postgres: not looked for (CONCORDAT_SERVERS=none); install it (Debian: apt-get install postgresql), start Docker, or set POSTGRES_URL'

describe('describeWith without servers', () => {
  test('skips one test that names what is missing and how to get it', () => {
    const { code, tests } = runWithoutServers()
    expect(tests).toEqual([{ fullName: reason, status: 'skipped' }])
    expect(code).toBe(0)
  })

  test('fails under CONCORDAT_REQUIRE_SERVERS=1', () => {
    const { code, tests } = runWithoutServers({ CONCORDAT_REQUIRE_SERVERS: '1' })
    expect(tests).toEqual([{ fullName: reason, status: 'failed' }])
    expect(code).toBe(1)
  })
})
