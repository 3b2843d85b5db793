import { simulate } from '@concordat/simulator'
import { afterAll, expect, it } from 'vitest'
import { Databases } from './databases.ts'
import { find } from './mistakes.ts'
import type { Workload } from './workload.ts'
import { WORKLOADS } from './workloads.ts'

const databases = new Databases()
afterAll(() => databases.close())

/** Fixed ones: `.ci/run` plays new ones. */
const SEEDS = 2
const TIMEOUT_MS = 180_000
const ALL = Object.keys(WORKLOADS)

it.for(ALL)('%s holds, with every fault', { timeout: TIMEOUT_MS }, async (name) => {
  const workload = WORKLOADS[name] as Workload
  const options = workload.options({ databases: await databases.of(name, workload), broken: undefined })
  const { histories, faults } = await simulate({ ...options, seeds: SEEDS, size: workload.size })
  expect({ histories, hasFaults: faults > 0 }).toEqual({ histories: SEEDS, hasFaults: true })
})

/** A mistake of each workload; `npm run sim -- --mistakes` plays all of them. */
const MISTAKES = [
  ['transfers', 'no-dedupe', 'money is constant'],
  ['outbox', 'forgets-keys', 'in order'],
  ['leaders', 'fence-before', 'no count is lost'],
  ['settings', 'put-blindly', 'no count is lost'],
  ['log', 'settles-apart', 'once and in order'],
  ['leases', 'expiry-from-the-end', 'there is room for each'],
] as const

it.for(MISTAKES)('%s: %s is found', { timeout: TIMEOUT_MS }, async ([name, broken, invariant]) => {
  const workload = WORKLOADS[name] as Workload
  const found = await find(workload, broken, { from: 1, count: 100 }, await databases.of(name, workload))
  expect(found).toMatchObject({ invariant, isRepeatable: true })
})

it('the simulation has at least twenty mistakes that can be built in', () => {
  const mistakes = ALL.flatMap((name) => Object.keys(WORKLOADS[name]?.mistakes ?? {}))
  expect(new Set(mistakes).size).toBe(mistakes.length)
  expect(mistakes.length).toBeGreaterThanOrEqual(20)
})
