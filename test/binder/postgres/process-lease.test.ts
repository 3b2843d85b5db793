// oxlint-disable no-restricted-imports -- inside of the transport: what a late answer to a renewal says
import { expect, it } from 'vitest'
import { ProcessLease } from '../../../binder/postgres/process-lease.ts'
import type { StatementRunner } from '../../../binder/postgres/statement-runner.ts'
import { transportTables } from '../../../binder/postgres/tables.ts'
import { FakeClock } from '../../support/locks/fake-clock.ts'

it('a renewal whose answer comes after the session was over says that others may have its places', async () => {
  const clock = new FakeClock()
  let answerMs = 0
  const database = {
    query: async () => {
      await clock.sleep(answerMs)
      return { rows: [] }
    },
  } as unknown as StatementRunner
  const lease = new ProcessLease({ owner: 'a', database, tables: transportTables('s'), clock, leaseMs: 3_000 })
  const renewed = async (takesMs: number): Promise<boolean> => {
    answerMs = takesMs
    let wasOver = false
    const renewing = lease.renew([1], () => {
      expect(lease.isValid(), 'nothing begins before they are given up').toBe(false)
      wasOver = true
    })
    await clock.advance(takesMs)
    await renewing
    return wasOver
  }
  expect(await renewed(1)).toBe(false)
  await clock.advance(1_000)
  expect(await renewed(1_000)).toBe(false)
  await clock.advance(1_000)
  expect(await renewed(1_500)).toBe(true)
})
