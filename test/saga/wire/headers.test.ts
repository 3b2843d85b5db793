import { defineChannel } from 'concordat/binder'
import { createOutbox, type Outbox } from 'concordat/outbox'
import { currentSaga, defineSaga, SAGA_HEADERS } from 'concordat/saga'
import { createCoordinator } from 'concordat/saga/coordinator'
import { expect, test } from 'vitest'
import { z } from 'zod'
import { type CoordinatorOptions, sagaHeaders } from '../../support/inside/saga.ts'
import { until } from '../../support/until.ts'
import { runningWorlds } from '../support/running-world.ts'
import { stockCommands } from '../support/world.ts'

const setup = runningWorlds()
const Input = z.object({ tenant: z.string() })

test('the headers option of a coordinator goes with every command and its compensation, in the saga that sends it', async () => {
  const saga = defineSaga('order', { version: 1, input: Input })
    .command('reserve', { to: stockCommands, request: () => ({ sku: 's', n: 1 }), compensate: true })
    .signal('approval', { payload: z.boolean() })
  const got: object[] = []
  const note = (_: unknown, { message }: { readonly message: { readonly headers: object } }): void => {
    got.push(message.headers)
  }
  const { coordinator } = await setup({
    sagas: [saga],
    handlers: { invoke: note, compensate: note },
    coordinator: {
      headers: () => ({
        region: 'eu',
        of: `${currentSaga()?.sagaId} ${currentSaga()?.operation}`,
        'saga-id': 'forged',
      }),
    },
  })
  const run = await coordinator.start(saga, { id: 'x', input: { tenant: 'a' } })
  await until('it waits', async () => (await run.report()).steps[1]?.status === 'invoking')
  await coordinator.cancel(run, { by: 'ann', reason: 'test' })
  await run.outcome({ timeoutMs: 30_000 })
  expect(got).toMatchObject([
    { region: 'eu', of: 'x invoke', 'saga-id': 'x', 'saga-operation': 'invoke' },
    { region: 'eu', of: 'x compensate', 'saga-id': 'x', 'saga-operation': 'compensate' },
  ])
})

test('a coordinator refuses headers that are no function', () => {
  const sql = { query: () => Promise.reject(new Error()), transaction: () => Promise.reject(new Error()) }
  const saga = defineSaga('s', { version: 1, input: Input }).step('a', { invoke: () => 1, compensate: 'none' })
  const options: CoordinatorOptions = { service: 's', sql, outbox: { addEncoded: async () => {} }, sagas: [saga] }
  expect(() => createCoordinator({ ...options, headers: {} as never })).toThrow(
    'createCoordinator.headers: expected a function that returns headers',
  )
})

test('sagaHeaders name the saga in a step’s messages', async () => {
  expect(sagaHeaders()).toBeUndefined()
  const news = defineChannel('news', { payload: z.string() })
  const outboxes: Outbox[] = []
  const saga = defineSaga('order', { version: 1, input: Input }).step('tell', {
    transactional: true,
    pivot: true,
    invoke: async ({ tx }) => void (await outboxes[0]?.add(tx, news, 'placed')),
  })
  const { sql, coordinator } = await setup({ sagas: [saga] })
  // An outbox that no relay empties.
  const outbox = createOutbox({ sql, service: 'orders', schema: `kept_${process.pid}`, headers: () => sagaHeaders() })
  await outbox.migrate()
  outboxes.push(outbox)
  await (await coordinator.start(saga, { id: 'x', input: { tenant: 'a' } })).outcome({ timeoutMs: 30_000 })
  const { rows } = await sql.query(`SELECT headers FROM kept_${process.pid}.outbox`)
  expect(rows).toEqual([
    { headers: { [SAGA_HEADERS.saga]: 'order', [SAGA_HEADERS.id]: 'x', [SAGA_HEADERS.step]: 'tell' } },
  ])
})
