/** The process that coordinates dies at any statement or commit of a saga that reserves; another one takes it over. */
import { createBinder } from 'concordat/binder'
import { memoryBroker, memoryTransport } from 'concordat/binder/memory'
import type { SqlClient, SqlExecutor } from 'concordat/core'
import { createOutbox, createRelay } from 'concordat/outbox'
import {
  type Coordinator,
  createCoordinator,
  defineSaga,
  migrateParticipant,
  Refusal,
  sagaReplies,
  tccParticipant,
} from 'concordat/saga'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { z } from 'zod'
import { until } from '../../support/until.ts'
import { Dead, MortalClient } from '../support/mortal.ts'
import { closeEmbedded, embedded, FAST, stockCommands } from '../support/world.ts'

const sql = embedded()
const schemas = { orders: 'tcc_orders', stock: 'tcc_stock' }
const effect = async (on: SqlExecutor, id: string, what: string): Promise<void> =>
  void (await on.query('INSERT INTO tcc_crash VALUES ($1, $2)', [id, what]))

const saga = defineSaga('crash', { version: 1, input: z.object({ refuse: z.boolean() }) })
  .parallel((group) =>
    group
      .tcc('here', {
        retry: FAST,
        confirmRetry: FAST,
        try: ({ tx, sagaId }) => effect(tx, sagaId, 'try here'),
        confirm: ({ tx, sagaId }) => effect(tx, sagaId, 'confirm here'),
        cancel: ({ tx, sagaId, tried }) => effect(tx, sagaId, `cancel here ${tried}`),
      })
      .tcc('there', { to: stockCommands, request: () => ({ sku: 'a', n: 1 }) }),
  )
  .step('decide', {
    pivot: true,
    transactional: true,
    invoke: ({ input }) => {
      if (input.refuse) throw new Refusal('no', 'no')
    },
  })

const broker = memoryBroker()
const outbox = createOutbox({ sql, service: 'orders', schema: schemas.orders, partitions: 1 })
const stockOutbox = createOutbox({ sql, service: 'stock', schema: schemas.stock, partitions: 1 })
const side = tccParticipant(
  stockCommands,
  { group: 'stock', sql, outbox: stockOutbox, schema: schemas.stock, backoff: FAST },
  {
    try: (_, { tx, sagaId }) => effect(tx, sagaId, 'try there'),
    confirm: (_, { tx, sagaId }) => effect(tx, sagaId, 'confirm there'),
    cancel: (_, { tx, sagaId, tried }) => effect(tx, sagaId, `cancel there ${tried}`),
  },
)
const stock = createBinder({
  service: 'stock',
  transport: memoryTransport({ broker }),
  sends: [sagaReplies('orders')],
  bindings: [side],
})
/** The relays and the participant are other processes: they live on. */
const sender = createBinder({ service: 'relay', transport: memoryTransport({ broker }), bindings: [] })
const relays = [
  createRelay({ outbox, publisher: sender, idlePollMs: 10 }),
  createRelay({ outbox: stockOutbox, publisher: stock, idlePollMs: 10 }),
]

beforeAll(async () => {
  await sql.query('CREATE TABLE tcc_crash (id text, what text)')
  await outbox.migrate()
  await stockOutbox.migrate()
  await createCoordinator({ service: 'orders', sql, outbox, schema: schemas.orders, sagas: [saga] }).migrate()
  await migrateParticipant(sql, schemas.stock)
  await Promise.all([stock.start(), sender.start()])
  for (const relay of relays) await relay.start()
}, 120_000)
afterAll(async () => {
  for (const relay of relays) await relay.close()
  await Promise.all([stock.close(), sender.close()])
  await closeEmbedded()
})

interface Process {
  readonly coordinator: Coordinator
  end(): Promise<void>
}

async function boot(client: SqlClient): Promise<Process> {
  const { orders: schema } = schemas
  const own = { leaseMs: 100, pollMs: 10, drainTimeoutMs: 0 }
  const coordinator = createCoordinator({ service: 'orders', sql: client, outbox, schema, sagas: [saga], ...own })
  const { bindings, channels } = coordinator
  const transport = memoryTransport({ broker })
  const binder = createBinder({ service: 'orders', transport, bindings, sends: channels, drainTimeoutMs: 0 })
  const end = async (): Promise<void> => void (await Promise.all([binder.close(), coordinator.close()]))
  try {
    await binder.start()
    await coordinator.run()
  } catch (error) {
    await end()
    throw error
  }
  return { coordinator, end }
}

function rethrowUnlessDead(error: unknown): undefined {
  if (error instanceof Dead) return undefined
  throw error
}

/** One process that dies at its n-th step, then a second one. False: it lived to the end. */
async function dieAt(n: number, when: 'before' | 'after', refuse: boolean): Promise<boolean> {
  const id = `${when}-${refuse}-${n}`
  const mortal = new MortalClient(sql, n, when)
  const first = await boot(mortal).catch(rethrowUnlessDead)
  const run = await first?.coordinator.start(saga, { id, input: { refuse } }).catch(rethrowUnlessDead)
  if (run !== undefined)
    await Promise.race([run.outcome().catch(rethrowUnlessDead), until('it dies', () => mortal.dead)])
  const died = mortal.dead
  await first?.end()
  const second = await boot(sql)
  const outcome = await (await second.coordinator.start(saga, { id, input: { refuse } })).outcome({ timeoutMs: 30_000 })
  await second.end()
  expect(outcome.status, id).toBe(refuse ? 'compensated' : 'completed')
  const { rows } = await sql.query<{ what: string }>('SELECT what FROM tcc_crash WHERE id = $1 ORDER BY what', [id])
  const after = refuse ? ['cancel here true', 'cancel there true'] : ['confirm here', 'confirm there']
  expect(
    rows.map(({ what }) => what),
    id,
  ).toEqual([...after, 'try here', 'try there'])
  return died
}

describe.each([false, true])('a coordinator that dies at any statement or commit, its saga refused: %s', (refuse) => {
  test.each(['before', 'after'] as const)(
    'leaves what was reserved to the next one, %s it is done: confirmed or cancelled, each once',
    { timeout: 240_000 },
    async (when) => {
      let deaths = 0
      for (let n = 1; await dieAt(n, when, refuse); n++) deaths = n
      expect(deaths).toBeGreaterThan(8)
    },
  )
})
