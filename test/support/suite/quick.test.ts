import { existsSync } from 'node:fs'
import { expect, test } from 'vitest'
import { MERGE_SECONDS, mergeOf, QUICK_SECONDS, quickOf, SMOKE } from './quick.ts'

test('npm test leaves out long files and all but one file for each server', () => {
  const long = 'test/saga/long.test.ts'
  const short = 'test/saga/short.test.ts'
  const seconds = { [long]: QUICK_SECONDS + 1, [short]: QUICK_SECONDS }
  const files = [long, short, 'test/saga/new.test.ts', 'test/saga/kinds.int.test.ts', ...SMOKE]
  expect(quickOf(files, seconds)).toEqual([short, 'test/saga/new.test.ts', ...SMOKE])
})

test('a merge leaves out long files that hold no guarantee, and controls of the suites', () => {
  // By its own name in the table of guarantees, and by a suite that it runs.
  const holding = ['test/locks/processes.int.test.ts', 'test/binder/rabbitmq/conformance.int.test.ts']
  const without = ['test/operate/cli.int.test.ts', 'test/binder/memory/refusing-conformance.test.ts']
  const seconds = Object.fromEntries([...holding, ...without].map((file) => [file, MERGE_SECONDS + 1]))
  expect(mergeOf([...holding, ...without, 'test/saga/kinds.int.test.ts'], seconds)).toEqual([
    ...holding,
    'test/saga/kinds.int.test.ts',
  ])
})

test.each(SMOKE)('%s exists', (file) => {
  expect(existsSync(file)).toBe(true)
})
