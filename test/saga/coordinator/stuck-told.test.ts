import { createOperator } from '@concordat/cli'
import type { SqlClient } from 'concordat/core'
import { defineSaga } from 'concordat/saga'
import { expect, test } from 'vitest'
import { z } from 'zod'
import { gate, until } from '../../support/until.ts'
import { runningWorlds } from '../support/running-world.ts'
import { embedded, stockCommands } from '../support/world.ts'

const start = runningWorlds()
const Input = z.object({ sku: z.string(), n: z.number() })
const input = { sku: 'apple', n: 2 }
const by = { by: 'ann', reason: 'test' }

/** Stuck by the very write that starts it: of two commands one cannot be sent, and the other cannot be undone. */
function stuckAtStart() {
  let asked = 0
  const no = (): never => {
    throw new Error('cannot be asked')
  }
  return defineSaga('stuck-at-start', { version: 1, input: Input }).parallel((group) =>
    group
      .command('a', { to: stockCommands, compensate: true, request: () => (++asked > 1 ? no() : input) })
      .command('b', { to: stockCommands, compensate: 'none', request: no }),
  )
}

async function setup(sql?: SqlClient) {
  const saga = stuckAtStart()
  const told: string[] = []
  const onStuck = ({ id }: { readonly id: string }) => void told.push(id)
  const world = await start({ sagas: [saga], coordinator: { pollMs: 20, leaseMs: 300, onStuck, ...(sql && { sql }) } })
  const { schema } = world
  const row = async () => {
    const { rows } = await embedded().query(`SELECT status, owner, due_at, mail FROM ${schema}.saga WHERE id = 's1'`)
    return rows[0]
  }
  return { ...world, saga, told, row }
}

const WITHIN = { timeout: 10_000 }
const AT_REST = { status: 'stuck', owner: null, due_at: null, mail: null }

test('a saga that is stuck at its start is reported, once, though the commit of its caller has no answer', async () => {
  const { coordinator, saga, told, row, sql } = await setup()
  // `afterCommit` gets no call.
  await sql.transaction((tx) => coordinator.start({ ...tx, afterCommit: () => {} }, saga, { id: 's1', input }))
  await until('the alarm is raised', () => told.length > 0)
  await expect.poll(row, WITHIN).toEqual(AT_REST)
  expect(told).toEqual(['s1'])
})

test('a saga whose coordinator is gone before its report is reported by the next one', async () => {
  const inner = embedded()
  let isGone = false
  const gone = (): Error => Object.assign(new Error('Connection terminated unexpectedly'), { code: 'ECONNRESET' })
  const { coordinator, another, saga, told, row } = await setup({
    ...inner,
    query: (text, parameters) => (isGone ? Promise.reject(gone()) : inner.query(text, parameters)),
    transaction: async (work) => {
      if (isGone) throw gone()
      const result = await inner.transaction((tx) =>
        work({
          ...tx,
          query: (text, parameters) => {
            if (text.includes('saga_write') && String(parameters?.[0]).includes('"status":"stuck"')) isGone = true
            return tx.query(text, parameters)
          },
        }),
      )
      if (isGone) throw gone()
      return result
    },
  })
  await expect(coordinator.start(saga, { id: 's1', input })).rejects.toThrow()
  await coordinator.close()
  expect(told).toEqual([])
  const next = another({ sql: inner })
  await next.run()
  await until('the alarm is raised', () => told.length > 0)
  await expect.poll(row, WITHIN).toEqual(AT_REST)
  expect(told).toEqual(['s1'])
  await next.close()
})

test('a stuck saga whose report was lost with an embedded database is reported when that is opened again', async () => {
  const { coordinator, another, saga, told, row, sql } = await setup()
  await coordinator.close()
  const former = another({ sql: { ...sql, exclusive: 'life-1' }, leaseMs: 3_600_000 })
  await sql.transaction((tx) => former.start({ ...tx, afterCommit: () => {} }, saga, { id: 's1', input }))
  const next = another({ sql: { ...sql, exclusive: 'life-2' } })
  await next.run()
  await expect.poll(row, WITHIN).toEqual(AT_REST)
  expect(told).toEqual(['s1'])
  await next.close()
  await former.close()
})

test('mail that came before a saga was stuck is read after the alarm', async () => {
  const [called, fails] = [gate(), gate()]
  const saga = defineSaga('mailed', { version: 1, input: Input })
    .step('a', {
      pivot: true,
      retry: { maxAttempts: 1 },
      invoke: async () => {
        called.open()
        await fails.opened
        throw new Error('broken')
      },
    })
    .signal('b', { payload: Input })
  const told: string[] = []
  const { coordinator, another, events } = await start({
    sagas: [saga],
    coordinator: { pollMs: 20, onStuck: ({ id }) => void told.push(id) },
  })
  await coordinator.start(saga, { id: 's1', input })
  await called.opened
  // The other coordinator has not loaded the saga.
  const other = another({ sagas: [stuckAtStart()] })
  await other.signal(saga, 's1', 'b', input)
  await other.close()
  fails.open()
  await until('the alarm is raised', () => told.length > 0)
  await expect.poll(() => events('mailed', 's1'), WITHIN).toContain('signalled b')
})

test('a stuck saga that raised its alarm is at rest, and an irrelevant signal raises no other', async () => {
  const { coordinator, saga, told, row, sql, outbox } = await setup()
  await sql.transaction((tx) => coordinator.start(tx, saga, { id: 's1', input }))
  await expect.poll(row, WITHIN).toEqual(AT_REST)
  const operator = createOperator({ sql, schema: outbox.schema })
  const refused = operator.sagas.compensate({ saga: saga.name, id: 's1' }, by)
  await expect(refused).rejects.toMatchObject({ code: 'saga.action_refused' })
  await expect.poll(row, WITHIN).toEqual(AT_REST)
  expect(told).toEqual(['s1'])
})

test('an action that comes while another one is refused is applied', async () => {
  const inner = embedded()
  let meanwhile: (() => Promise<unknown>) | undefined
  const { coordinator, saga, row, outbox, events } = await setup({
    ...inner,
    query: async <Row extends object>(text: string, parameters?: readonly unknown[]) => {
      const come = text.includes('SET mail = NULL') ? meanwhile : undefined
      if (come !== undefined) meanwhile = undefined
      await come?.()
      return inner.query<Row>(text, parameters)
    },
  })
  await inner.transaction((tx) => coordinator.start(tx, saga, { id: 's1', input }))
  await expect.poll(row, WITHIN).toEqual(AT_REST)
  const operator = createOperator({ sql: inner, schema: outbox.schema })
  const target = { saga: saga.name, id: 's1' }
  meanwhile = () => operator.sagas.retry(target, { ...by, waitMs: 0 })
  await expect(operator.sagas.compensate(target, by)).rejects.toMatchObject({ code: 'saga.action_refused' })
  await expect.poll(() => events(saga.name, 's1'), WITHIN).toContain('operator-retry a')
  expect(meanwhile).toBeUndefined()
})

test('an operator acts at once on a stuck saga that was not reported yet', async () => {
  const { coordinator, another, saga, told, row, sql, outbox } = await setup()
  await coordinator.close()
  // No coordinator drives it, and none was notified of its commit.
  const starter = another({ leaseMs: 3_600_000 })
  await sql.transaction((tx) => starter.start({ ...tx, afterCommit: () => {} }, saga, { id: 's1', input }))
  const operator = createOperator({ sql, schema: outbox.schema })
  await operator.sagas.skip({ saga: saga.name, id: 's1' }, { ...by, waitMs: 0 })
  const next = another()
  await next.run()
  await expect.poll(async () => (await row()) as object, WITHIN).toMatchObject({ status: 'compensated' })
  expect(told).toEqual([])
  await next.close()
  await starter.close()
})
