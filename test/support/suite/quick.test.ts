import { existsSync } from 'node:fs'
import { expect, test } from 'vitest'
import { LONG_SECONDS, quickOf, SMOKE } from './quick.ts'

test('npm test leaves out long files and all but one file for each server', () => {
  const long = 'test/saga/long.test.ts'
  const short = 'test/saga/short.test.ts'
  const seconds = { [long]: LONG_SECONDS + 1, [short]: LONG_SECONDS }
  const files = [long, short, 'test/saga/new.test.ts', 'test/saga/kinds.int.test.ts', ...SMOKE]
  expect(quickOf(files, seconds)).toEqual([short, 'test/saga/new.test.ts', ...SMOKE])
})

test.each(SMOKE)('%s exists', (file) => {
  expect(existsSync(file)).toBe(true)
})
