// oxlint-disable no-restricted-imports -- inside of the relay
import { expect, test } from 'vitest'
import type { WindowFailure, WindowResult } from '../../outbox/publish-window.ts'
import { RepeatedFailures } from '../../outbox/repeated-failures.ts'
import { FakeClock } from '../support/locks/fake-clock.ts'

type Row = WindowFailure['row']

const row = (id: string, attempts: number): Row =>
  ({ message: { id, destination: 'orders' }, attempts }) as unknown as Row
const error = new Error('no queue gets it') as WindowFailure['error']

const window = (part: Partial<Pick<WindowResult, 'confirmed' | 'failed'>>) => ({ confirmed: [], failed: [], ...part })

test('a message that is refused three times is reported, until it leaves', async () => {
  const failures = new RepeatedFailures(new FakeClock(), 60_000)
  for (const attempts of [0, 1]) failures.settled(window({ failed: [{ row: row('a', attempts), error }] }))
  expect(failures.lasting).toBeUndefined()
  failures.settled(window({ failed: [{ row: row('a', 2), error }] }))
  expect(failures.lasting).toContain('publishing to orders failed 3 times')
  failures.settled(window({ confirmed: [row('b', 0)] }))
  expect(failures.lasting).toBeDefined()
  failures.settled(window({ confirmed: [row('a', 3)] }))
  expect(failures.lasting).toBeUndefined()
})

test('a message whose next attempt another relay makes is forgotten', async () => {
  const clock = new FakeClock()
  const failures = new RepeatedFailures(clock, 60_000)
  failures.settled(window({ failed: [{ row: row('a', 5), error }] }))
  await clock.advance(69_000)
  expect(failures.lasting).toBeDefined()
  await clock.advance(2_000)
  expect(failures.lasting).toBeUndefined()
})
