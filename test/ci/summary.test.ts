import { spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { describe, expect, onTestFinished, test } from 'vitest'

const SUMMARY = fileURLToPath(new URL('../../.ci/summary.ts', import.meta.url))
const FAILED_FILES = fileURLToPath(new URL('../../.ci/failed-files.ts', import.meta.url))

/** Gone with the test. */
function temporaryFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), 'concordat-test-'))
  onTestFinished(() => rmSync(folder, { recursive: true }))
  return folder
}

/** Summary that `.ci/run` prints at its end for these files of test results. */
function summarize(files: readonly object[], ...steps: readonly string[]) {
  const folder = temporaryFolder()
  const report = join(folder, 'report.json')
  writeFileSync(report, JSON.stringify({ testResults: files }))
  const { status, stdout } = spawnSync(process.execPath, [SUMMARY, report, ...steps], { encoding: 'utf8' })
  return { code: status, lines: stdout.trimEnd().split('\n') }
}

const passed = { fullName: 'adds', status: 'passed' }
const file = (status: string, ...assertionResults: readonly object[]) => ({
  name: 'a.test.ts',
  status,
  message: '',
  assertionResults,
})

describe('the summary of .ci/run', () => {
  test('counts what passed and exits with 0', () => {
    const summary = summarize([file('passed', passed, passed), file('passed', passed)], 'check=passed', 'tests=passed')
    expect(summary).toEqual({ code: 0, lines: ['3 passed, 0 failed'] })
  })

  test('names failed and skipped tests and counts both as failed', () => {
    const failed = { fullName: 'divides', status: 'failed' }
    const skipped = { fullName: 'needs kafka', status: 'skipped' }
    const summary = summarize([file('failed', passed, failed, skipped)], 'check=passed', 'tests=failed')
    expect(summary).toEqual({ code: 1, lines: ['failed: divides', 'skipped: needs kafka', '1 passed, 2 failed'] })
  })

  test('shows for each attempt of a failed test the error and its place', () => {
    const failureMessages = [
      'AssertionError: expected 1 to be 2\n    at helper (/a/support.ts:3:1)\n    at /a/b.test.ts:7:9',
      'Error: no answer\nmore',
    ]
    const failed = { fullName: 'divides', status: 'failed', failureMessages }
    expect(summarize([file('failed', passed, failed)], 'check=passed', 'tests=failed')).toEqual({
      code: 1,
      lines: [
        'failed: divides',
        '  AssertionError: expected 1 to be 2 (/a/b.test.ts:7:9)',
        '  Error: no answer',
        '1 passed, 1 failed',
      ],
    })
  })

  test('names a test that passed at its second try, with what failed at first', () => {
    const again = { fullName: 'waits', status: 'passed', failureMessages: ['Error: timed out\n    at a.ts:1'] }
    const summary = summarize([file('passed', passed, again)], 'check=passed', 'tests=passed')
    expect(summary).toEqual({
      code: 0,
      lines: ['passed at the second try: waits: Error: timed out', '2 passed, 0 failed'],
    })
  })

  test('counts files that were run again alone, with their first errors', () => {
    const folder = temporaryFolder()
    const rerun = join(folder, 'alone.json')
    const failed = {
      fullName: 'divides',
      status: 'failed',
      failureMessages: ['Error: no answer\n at /a/b.test.ts:7:9'],
    }
    const first = file('failed', { fullName: 'adds', status: 'passed' }, failed)
    const other = { ...file('passed', { fullName: 'waits', status: 'passed' }), name: 'b.test.ts' }
    const alone = (status: string) =>
      writeFileSync(
        rerun,
        JSON.stringify({ testResults: [file(status, passed, { fullName: 'divides', status, failureMessages: [] })] }),
      )
    alone('passed')
    expect(summarize([first, other], `again=${rerun}`, 'check=passed', 'tests=passed')).toEqual({
      code: 0,
      lines: [
        'passed when its file was run again alone: divides',
        '  Error: no answer (/a/b.test.ts:7:9)',
        '3 passed, 0 failed',
      ],
    })
    alone('failed')
    expect(summarize([first, other], `again=${rerun}`, 'check=passed', 'tests=failed')).toEqual({
      code: 1,
      lines: ['failed: divides', '2 passed, 1 failed'],
    })
  })

  test('a few files that failed are named for another run, many are not', () => {
    const folder = temporaryFolder()
    const report = join(folder, 'report.json')
    const named = (...states: readonly string[]) => {
      const testResults = states.map((status, n) => ({ ...file(status), name: `${n}.test.ts` }))
      writeFileSync(report, JSON.stringify({ testResults }))
      return spawnSync(process.execPath, [FAILED_FILES, report], { encoding: 'utf8' }).stdout
    }
    expect(named('passed', 'failed', 'failed')).toBe('1.test.ts\n2.test.ts\n')
    expect(named(...Array.from({ length: 17 }, () => 'failed'))).toBe('')
  })

  test('counts a file that could not be loaded', () => {
    const broken = { name: 'b.test.ts', status: 'failed', message: 'SyntaxError', assertionResults: [] }
    const summary = summarize([file('passed', passed), broken], 'check=passed', 'tests=failed')
    expect(summary).toEqual({ code: 1, lines: ['failed: b.test.ts SyntaxError', '1 passed, 1 failed'] })
  })

  test('counts a failed check, and a failed run without a failed test', () => {
    const check = summarize([file('passed', passed)], 'check=failed', 'tests=passed')
    expect(check).toEqual({ code: 1, lines: ['failed: npm run check', '1 passed, 1 failed'] })
    const dependencies = summarize([file('passed', passed)], 'tests=passed', 'dependencies=failed')
    expect(dependencies).toEqual({
      code: 1,
      lines: ['failed: npm run licences or npm audit, see their output above', '1 passed, 1 failed'],
    })
    const run = summarize([file('passed', passed)], 'check=passed', 'tests=failed')
    expect(run).toEqual({ code: 1, lines: ['failed: npm test, see its output above', '1 passed, 1 failed'] })
  })

  test('adds up several reports, and counts one that is missing', () => {
    const folder = temporaryFolder()
    const [first, second, missing] = ['a', 'b', 'c'].map((name) => join(folder, `${name}.json`)) as [
      string,
      string,
      string,
    ]
    for (const report of [first, second])
      writeFileSync(report, JSON.stringify({ testResults: [file('passed', passed)] }))
    const run = (...args: readonly string[]) => {
      const { status, stdout } = spawnSync(process.execPath, [SUMMARY, ...args], { encoding: 'utf8' })
      return { code: status, lines: stdout.trimEnd().split('\n') }
    }
    expect(run(first, second, 'check=passed', 'tests=passed')).toEqual({ code: 0, lines: ['2 passed, 0 failed'] })
    expect(run(first, missing, 'check=passed', 'tests=failed')).toEqual({
      code: 1,
      lines: [`failed: ${missing} is no report`, '1 passed, 1 failed'],
    })
  })

  test('fails when nothing ran', () => {
    expect(summarize([], 'check=passed', 'tests=passed')).toEqual({ code: 1, lines: ['0 passed, 0 failed'] })
  })
})
