import { expect, test } from 'vitest'
import { untilQuiet } from './quiet.ts'

const PATIENCE = { stillMs: 100, mostMs: 10_000, everyMs: 1 }

test('untilQuiet waits longer than the limit, while the backlog shrinks', async () => {
  const begun = performance.now()
  const left = async (): Promise<number> => Math.max(0, Math.ceil((250 - (performance.now() - begun)) / 10))
  expect(await untilQuiet(left, PATIENCE)).toBe(0)
  expect(performance.now() - begun).toBeGreaterThan(240)
})

test('untilQuiet gives up a backlog that does not shrink, or is unknown', async () => {
  expect(await untilQuiet(async () => 7, PATIENCE)).toBe(7)
  expect(await untilQuiet(async () => Number.POSITIVE_INFINITY, PATIENCE)).toBe(Number.POSITIVE_INFINITY)
})

test('untilQuiet gives up in the end', async () => {
  let left = 1e9
  expect(await untilQuiet(async () => --left, { ...PATIENCE, mostMs: 50 })).toBeGreaterThan(0)
})
