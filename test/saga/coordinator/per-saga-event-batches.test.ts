/** Outcomes of one saga that arrive while it is written are written together. */
import { setImmediate as turn } from 'node:timers/promises'
import { defineChannel } from 'concordat/binder'
import { type SqlClient, type SqlExecutor, type SqlTransaction } from 'concordat/core'
import { defineSaga, localTarget, migrateParticipant } from 'concordat/saga'
import { defineBranch, defineGlobalTransaction } from 'concordat/saga/global'
import { tccParticipant } from 'concordat/saga/tcc'
import { expect, test } from 'vitest'
import { z } from 'zod'
import { gate, until } from '../../support/until.ts'
import { runningWorlds } from '../support/running-world.ts'
import { embedded } from '../support/world.ts'

const input = z.object({ items: z.array(z.number()) })
const items = Array.from({ length: 100 }, (_, n) => n)
const within = { timeoutMs: 60_000 }
const setup = runningWorlds()

/** Counts the statements that write sagas, and refuses those that `refuses` names. */
function counting(refuses: (parameters: string) => boolean = () => false): SqlClient & { writes: number } {
  const sql = embedded()
  const counts =
    (query: SqlExecutor['query']): SqlExecutor['query'] =>
    async (text, parameters) => {
      if (text.includes('saga_write')) {
        client.writes++
        if (refuses(String(parameters?.[0]))) throw Object.assign(new Error('it is too much'), { code: '54000' })
      }
      return query(text, parameters)
    }
  const client = {
    ...sql,
    writes: 0,
    query: counts(sql.query.bind(sql)),
    transaction: <T>(work: (tx: SqlTransaction) => Promise<T>) =>
      sql.transaction((tx) => work({ ...tx, last: undefined, query: counts(tx.query.bind(tx)) })),
  }
  return client
}

test('a hundred items of a list that are made at once take a fraction of the writes that they take one by one', async () => {
  const saga = defineSaga('many', { version: 1, input }).each('ship', {
    over: ({ input }) => input.items,
    atOnce: items.length,
    invoke: ({ item }) => item,
    compensate: 'none',
  })
  const sql = counting()
  const { coordinator, events } = await setup({ sagas: [saga], coordinator: { sql } })
  const run = await coordinator.start(saga, { id: 'x', input: { items } })
  expect((await run.outcome(within)).results).toEqual({ ship: items })
  expect(sql.writes).toBeLessThan(20)
  expect((await events('many', 'x')).filter((event) => event.startsWith('invoked ship['))).toHaveLength(items.length)
})

test('an item whose result can never be stored fails alone in its batch', async () => {
  const undone: number[] = []
  const saga = defineSaga('poisoned', { version: 1, input }).each('ship', {
    over: ({ input }) => input.items,
    atOnce: 20,
    retry: { maxAttempts: 1 },
    invoke: ({ item }) => (item === 7 ? 'POISON' : item),
    compensate: ({ item }) => void undone.push(item),
  })
  const sql = counting((write) => write.includes('POISON'))
  const { coordinator } = await setup({ sagas: [saga], coordinator: { sql } })
  const run = await coordinator.start(saga, { id: 'x', input: { items: items.slice(0, 20) } })
  const outcome = await run.outcome(within)
  expect(outcome).toMatchObject({ status: 'compensated', failure: { step: 'ship[7]' } })
  expect(undone.toSorted((a, b) => a - b)).toEqual(items.slice(0, 20))
})

test('signals whose common write has no answer are rejected, since false would say that the saga does not wait for them', async () => {
  const payload = z.number()
  const saga = defineSaga('told', { version: 1, input: z.object({}) }).parallel((group) =>
    group.signal('a', { payload }).signal('b', { payload }).signal('c', { payload }),
  )
  const inner = embedded()
  const held = gate()
  let next: 'write' | 'wait' | 'lose the answer' = 'write'
  const sql: SqlClient = {
    ...inner,
    query: async <Row extends object>(text: string, parameters?: readonly unknown[]) => {
      const now = text.includes('saga_write') ? next : 'write'
      if (now !== 'write') next = now === 'wait' ? 'lose the answer' : 'write'
      if (now === 'wait') await held.opened
      const result = await inner.query<Row>(text, parameters)
      if (now === 'lose the answer') throw new Error('the proxy has lost the answer')
      return result
    },
  }
  const { coordinator } = await setup({ sagas: [saga], coordinator: { sql } })
  await coordinator.start(saga, { id: 'x', input: {} })
  next = 'wait'
  const first = coordinator.signal(saga, 'x', 'a', 1)
  await until('the first is written', () => next === 'lose the answer')
  const others = Promise.allSettled([coordinator.signal(saga, 'x', 'b', 2), coordinator.signal(saga, 'x', 'c', 3)])
  await turn()
  held.open()
  expect(await first).toBe(true)
  const lost = { status: 'rejected', reason: expect.objectContaining({ message: 'the proxy has lost the answer' }) }
  expect(await others).toEqual([lost, lost])
})

test('parallel branches of a global transaction are written together, each with its own answer', async () => {
  const moves = defineChannel('line.moves', { payload: z.object({ n: z.number() }) })
  const local = embedded()
  const confirmed: number[] = []
  const side = tccParticipant(
    moves,
    { group: 'moves', schema: 'lines' },
    { try: ({ n }) => n * 2, confirm: ({ n }) => void confirmed.push(n), cancel: () => {} },
  )
  const move = defineBranch('move', { to: localTarget(moves, side, { sql: local, schema: 'lines' }) })
  const transaction = defineGlobalTransaction('wide', { input: z.object({}), branches: [move] })
  await migrateParticipant(local, 'lines')
  const sql = counting()
  const { coordinator } = await setup({ sagas: [transaction], coordinator: { sql } })
  const answers = await coordinator.globalTransaction(transaction, { id: 'x', input: {} }, (global) =>
    Promise.all(items.map((n) => global.call(move, { n }))),
  )
  expect(answers).toEqual(items.map((n) => n * 2))
  expect((await coordinator.get(transaction, 'x').outcome(within)).status).toBe('completed')
  expect(confirmed.toSorted((a, b) => a - b)).toEqual(items)
  expect(sql.writes).toBeLessThan(150)
})
