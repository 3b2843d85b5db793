// oxlint-disable no-restricted-imports -- what looks for due messages is no part of the package's interface
import { silentLogger } from 'concordat/core'
import { expect, it } from 'vitest'
import { Delays } from '../../../binder/postgres/delays.ts'
import type { StatementRunner } from '../../../binder/postgres/statement-runner.ts'
import { transportTables } from '../../../binder/postgres/tables.ts'
import { drain, FakeClock } from '../../support/locks/fake-clock.ts'

it('a process shortens overlong waits at its start, and after the server’s clock was set back', async () => {
  const clock = new FakeClock()
  let behindMs = 0
  let shortened = 0
  const query = async (what: string) => {
    if (what.startsWith('shorten')) shortened++
    return { rows: [{ part: null, next_ms: null, now_ms: clock.now() - behindMs }] }
  }
  const delays = new Delays(
    {
      host: { service: 's', instance: 'i', logger: silentLogger, clock },
      database: { query } as unknown as StatementRunner,
      tables: transportTables('concordat'),
    },
    () => {},
  )
  delays.start()
  await clock.advance(5_000)
  expect(shortened).toBe(1)
  behindMs = 60_000
  await clock.advance(5_000)
  expect(shortened).toBe(2)
  clock.suspend(60_000)
  await clock.advance(5_000)
  await drain()
  expect(shortened).toBe(2)
  delays.close()
})
