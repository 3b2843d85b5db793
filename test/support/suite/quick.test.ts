import { existsSync, globSync } from 'node:fs'
import { expect, test } from 'vitest'
import { reachedBy } from './imports.ts'
import { MERGE_SECONDS, meets, mergeOf, QUICK_SECONDS, quickOf, readClaims, SMOKE } from './quick.ts'
import type { Seconds } from './seconds.ts'

test('npm test leaves out long files and all but one file for each server', () => {
  const long = 'test/saga/long.test.ts'
  const short = 'test/saga/short.test.ts'
  const seconds = { [long]: QUICK_SECONDS + 1, [short]: QUICK_SECONDS }
  const files = [long, short, 'test/saga/new.test.ts', 'test/saga/kinds.int.test.ts', ...SMOKE]
  expect(quickOf(files, seconds)).toEqual([short, 'test/saga/new.test.ts', ...SMOKE])
})

/** Suites that a test loads by name, and tests of a release. */
const ELSEWHERE = /^test\/core\/orms\/|\.release\.test\.ts$/

const longFiles = (...files: readonly string[]): Seconds =>
  Object.fromEntries(files.map((file) => [file, MERGE_SECONDS + 1]))

test('a merge leaves out long files, except the conformance of each adapter', () => {
  const adapters = ['test/binder/rabbitmq/conformance.int.test.ts', 'test/binder/kafka/conformance.int.test.ts']
  const without = ['test/operate/cli.int.test.ts', 'test/binder/memory/refusing-conformance.test.ts']
  expect(mergeOf([...adapters, ...without], longFiles(...adapters, ...without))).toEqual(adapters)
})

test('a merge leaves a conformance suite on PGlite to the night where a file beside it runs the suite on PostgreSQL', () => {
  const [embedded, server] = ['test/locks/postgres/pglite.test.ts', 'test/locks/postgres/postgres.int.test.ts']
  expect(mergeOf([embedded, server], longFiles(embedded, server))).toEqual([server])
  const adapters = ['test/bus/memory.test.ts', 'test/bus/rabbitmq.int.test.ts']
  expect(mergeOf(adapters, longFiles(...adapters))).toEqual(adapters)
})

test('a merge runs a test of every guarantee, and of those in long files the shortest', () => {
  const files = globSync('test/**/*.test.ts')
  const claims = readClaims().map(({ tests }) => new Set(tests.map(({ file }) => file)))
  const all = longFiles(...files)
  for (const seconds of [all, { ...all, 'test/bus/bus.test.ts': MERGE_SECONDS + 9 }]) {
    const chosen = mergeOf(files, seconds)
    const without = claims.filter((named) => !chosen.some((file) => meets(reachedBy(file), named)))
    expect(without.flatMap((named) => [...named]).filter((file) => !ELSEWHERE.test(file))).toEqual([])
    expect(chosen.length).toBeLessThan(files.length / 2)
  }
})

test.each(SMOKE)('%s exists', (file) => {
  expect(existsSync(file)).toBe(true)
})
