import { type Clock, type SqlClient, systemClock } from 'concordat/core'
import { defineSaga } from 'concordat/saga'
import { expect, onTestFinished, test } from 'vitest'
import { z } from 'zod'
import { gate, until } from '../../support/until.ts'
import { runningWorlds } from '../support/running-world.ts'
import { embedded } from '../support/world.ts'

const setup = runningWorlds()
const LEASE_MS = 10_000
const CLAIM = /SKIP LOCKED/
const RENEWAL = /SET wait_ms = \$\d, due_at = clock_timestamp\(\) \+ \$\d \* interval/

const define = (invoke: () => unknown) =>
  defineSaga('slow', { version: 1, input: z.object({}) }).step('a', { compensate: 'none', invoke })

/** Calls `before` ahead of each statement. Another process could use the database: no lease ends because it is opened. */
const watched = (before: (text: string) => unknown): SqlClient => {
  const { exclusive: _, ...inner } = embedded()
  return {
    ...inner,
    query: async (text, parameters) => {
      await before(text)
      return inner.query(text, parameters)
    },
  }
}

/** Coordinator A starts a saga in a transaction that is open for as long as a lease; coordinator B is another instance. */
async function setupOpen(ofA: () => unknown, ofB: () => unknown, before: (text: string) => unknown) {
  let ahead = 0
  const clock: Clock = { ...systemClock, monotonic: () => systemClock.monotonic() + ahead }
  const saga = define(ofA)
  const { coordinator, another, sql, schema } = await setup({
    sagas: [saga],
    sql: watched(before),
    coordinator: { leaseMs: LEASE_MS, clock },
  })
  let looks = 0
  const sqlOfB = watched((text) => CLAIM.test(text) && looks++)
  const b = another({ sagas: [define(ofB)], sql: sqlOfB, clock: systemClock })
  onTestFinished(() => b.close())
  const start = () =>
    sql.transaction(async (tx) => {
      const run = await coordinator.start(tx, saga, { id: 'x', input: {} })
      await tx.query(`UPDATE ${schema}.saga SET due_at = due_at - interval '${LEASE_MS} milliseconds'`)
      ahead += LEASE_MS
      return run
    })
  return { b, start, looks: () => looks }
}

test('the first step of a saga is called once when its transaction was open for a lease', async () => {
  const calls: string[] = []
  const leave = gate()
  const step = (name: string) => async () => {
    calls.push(name)
    await leave.opened
  }
  const { b, start, looks } = await setupOpen(step('a'), step('b'), () => {})
  const run = await start()
  await until('the step is called', () => calls.length > 0)
  await b.run()
  await until('another coordinator has looked twice for due sagas', () => looks() > 2)
  expect(calls).toEqual(['a'])
  leave.open()
  expect((await run.outcome({ timeoutMs: 10_000 })).status).toBe('completed')
})

test('a coordinator calls no step of a saga that another took when its long transaction had committed', async () => {
  const calls: string[] = []
  const taken = gate()
  let isStarted = false
  const { b, start } = await setupOpen(
    () => void calls.push('a'),
    () => {
      calls.push('b')
      taken.open()
    },
    (text) => isStarted && (CLAIM.test(text) || RENEWAL.test(text)) && taken.opened,
  )
  isStarted = true
  const run = await start()
  await b.run()
  expect((await run.outcome({ timeoutMs: 10_000 })).status).toBe('completed')
  expect(calls).toEqual(['b'])
})
