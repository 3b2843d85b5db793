// oxlint-disable no-restricted-imports -- inside of the PostgreSQL locks: when a client sends its heartbeat
import type { SqlClient } from 'concordat/core'
import { expect, test } from 'vitest'
import type { StoreStatementRunner } from '../../../core/store-statement-runner.ts'
import { WaiterWakeups } from '../../../locks/postgres/waiter-wakeups.ts'
import { drain, FakeClock } from '../../support/locks/fake-clock.ts'

/** Server that answers beats only when the test does. */
function setup() {
  const clock = new FakeClock()
  const beats: Array<PromiseWithResolvers<readonly object[]>> = []
  const run = (): Promise<readonly object[]> => {
    const beat = Promise.withResolvers<readonly object[]>()
    beats.push(beat)
    return beat.promise
  }
  const sql = { query: run, transaction: run } as unknown as SqlClient
  const steps = { run } as unknown as StoreStatementRunner
  const fields = { sql, steps, schema: '"concordat"', clock, listener: { listen: () => () => {} } as never }
  const wakeups = new WaiterWakeups({ ...fields, onUnclaimed: () => {} })
  const answer = async (error?: Error): Promise<void> => {
    await drain()
    const last = beats.at(-1)
    if (error === undefined) last?.resolve([])
    else last?.reject(error)
    await drain()
  }
  return { clock, beats, wakeups, answer }
}

test('waiters that come at once share the report that their client is alive', async () => {
  const { beats, wakeups, answer } = setup()
  const listening = Array.from({ length: 20 }, (_, n) => wakeups.listen(`v${n}`, () => {}))
  await answer()
  await Promise.all(listening)
  expect(beats).toHaveLength(1)
  wakeups.close()
})

test('waiters that come while a report fails share the next one', async () => {
  const { beats, wakeups, answer } = setup()
  const first = wakeups.listen('first', () => {})
  const failed = expect(first).rejects.toThrow('away')
  await drain()
  const listening = Array.from({ length: 20 }, (_, n) => wakeups.listen(`v${n}`, () => {}))
  await answer(new Error('away'))
  await failed
  await answer()
  await Promise.all(listening)
  expect(beats).toHaveLength(2)
  wakeups.close()
})

test('a client reports on while it waits, also when a new waiter joins during a report', async () => {
  const { clock, beats, wakeups, answer } = setup()
  const first = wakeups.listen('first', () => {})
  await answer()
  await first
  wakeups.placed('k', 'first')
  await clock.advance(500)
  expect(beats).toHaveLength(2)
  // The report is late, so that it does not say for the new waiter that the client is alive now.
  await clock.advance(600)
  const second = wakeups.listen('second', () => {})
  await answer()
  await answer()
  await second
  const before = beats.length
  await clock.advance(500)
  expect(beats).toHaveLength(before + 1)
  wakeups.close()
})
