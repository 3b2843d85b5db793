import { existsSync } from 'node:fs'
import { expect, test } from 'vitest'
import { longestFirst, readSeconds } from './seconds.ts'
import { withTimes } from './times.ts'

test('a file that was never measured is placed as the median', () => {
  const order = longestFirst({ 'a.test.ts': 90, 'b.test.ts': 20, 'c.test.ts': 5 })
  expect(['c.test.ts', 'new.test.ts', 'a.test.ts'].toSorted(order)).toEqual(['a.test.ts', 'new.test.ts', 'c.test.ts'])
})

test('the checked-in table names existing files', () => {
  const files = Object.keys(readSeconds())
  expect(files.filter((file) => !existsSync(file))).toEqual([])
})

test('a report replaces the time of its files, keeps the others, and drops what became short', () => {
  const file = (name: string, seconds: number) => ({
    name: `/repository/${name}`,
    startTime: 1_000,
    endTime: 1_000 + seconds * 1_000,
  })
  const before = { 'test/a.test.ts': 10, 'test/b.test.ts': 10, 'test/c.test.ts': 10 }
  const reports = [{ testResults: [file('test/c.test.ts', 70.4), file('test/b.test.ts', 0.2)] }]
  expect(withTimes(before, reports)).toEqual({ 'test/a.test.ts': 10, 'test/c.test.ts': 70 })
})

test('a report from another checkout, even one below a folder called test, names the same files', () => {
  const report = (root: string) => ({
    testResults: [{ name: `${root}/test/support/suite/seconds.test.ts`, startTime: 0, endTime: 9_000 }],
  })
  for (const root of ['/tmp/ci/checkout', '/home/test/checkout'])
    expect(withTimes({}, [report(root)])).toEqual({ 'test/support/suite/seconds.test.ts': 9 })
})
