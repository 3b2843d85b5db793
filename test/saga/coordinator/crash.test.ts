import { createBinder } from 'concordat/binder'
import { memoryBroker, memoryTransport } from 'concordat/binder/memory'
import type { SqlClient } from 'concordat/core'
import { createOutbox, createRelay } from 'concordat/outbox'
import {
  type Coordinator,
  createCoordinator,
  defineSaga,
  migrateParticipant,
  participant,
  Refusal,
  sagaReplies,
} from 'concordat/saga'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { z } from 'zod'
import { until } from '../../support/until.ts'
import { Dead, MortalClient } from '../support/mortal.ts'
import { closeEmbedded, embedded, FAST, stockCommands } from '../support/world.ts'

const Input = z.object({ refuse: z.boolean() })
const plain: string[] = []

const pack = defineSaga('pack', { version: 1, input: z.object({ of: z.string() }) })
  .step('box', {
    transactional: true,
    invoke: ({ tx, input }) => effect(tx, 'orders', `${input.of} box`),
    compensate: ({ tx, input }) => effect(tx, 'orders', `${input.of} undo box`),
  })
  .command('label', {
    to: stockCommands,
    request: ({ input }) => ({ sku: `label ${input.of}`, n: 1 }),
    compensate: true,
  })

const saga = defineSaga('crash', { version: 1, input: Input })
  .step('open', {
    transactional: true,
    invoke: ({ tx, sagaId }) => effect(tx, 'orders', `${sagaId} open`),
    compensate: ({ tx, sagaId }) => effect(tx, 'orders', `${sagaId} undo open`),
  })
  .parallel((group) =>
    group
      .step('note', {
        retry: FAST,
        invoke: ({ sagaId }) => void plain.push(`${sagaId} note`),
        compensate: ({ sagaId }) => void plain.push(`${sagaId} undo note`),
      })
      .step('mark', {
        transactional: true,
        retry: FAST,
        invoke: ({ tx, sagaId }) => effect(tx, 'orders', `${sagaId} mark`),
        compensate: ({ tx, sagaId }) => effect(tx, 'orders', `${sagaId} undo mark`),
      })
      .command('reserve', { to: stockCommands, request: () => ({ sku: 'reserve', n: 1 }), compensate: true }),
  )
  .saga('pack', { saga: pack, input: ({ sagaId }) => ({ of: sagaId }), compensate: true })
  .command('pay', {
    to: stockCommands,
    request: ({ input }) => ({ sku: input.refuse ? 'refuse' : 'pay', n: 1 }),
    compensate: true,
  })
  .step('confirm', {
    pivot: true,
    transactional: true,
    invoke: ({ tx, sagaId }) => effect(tx, 'orders', `${sagaId} confirm`),
  })
  .step('tell', { retry: FAST, invoke: ({ sagaId }) => void plain.push(`${sagaId} tell`) })

/** What is done for the step of a saga that is a step is told of that one. */
function stockEffect(sagaId: string, undo: string, sku: string): string {
  const [what, of = sagaId] = sku.split(' ')
  return `${of} ${undo}${what}`
}

async function effect(tx: SqlClient | { query: SqlClient['query'] }, service: string, what: string): Promise<void> {
  await tx.query('INSERT INTO crash_effects VALUES ($1, $2)', [service, what])
}

const sql = embedded()
const schemas = { orders: 'crash_orders', stock: 'crash_stock' }
const broker = memoryBroker()
const outbox = createOutbox({ sql, service: 'orders', schema: schemas.orders, partitions: 1 })
const stockOutbox = createOutbox({ sql, service: 'stock', schema: schemas.stock, partitions: 1 })
const stock = createBinder({
  service: 'stock',
  transport: memoryTransport({ broker }),
  sends: [sagaReplies('orders')],
  bindings: [
    participant(
      stockCommands,
      { group: 'stock', sql, outbox: stockOutbox, schema: schemas.stock, backoff: FAST },
      {
        invoke: async ({ sku }, { tx, sagaId }) => {
          await effect(tx, 'stock', stockEffect(sagaId, '', sku))
          if (sku === 'refuse') throw new Refusal('stock.no', 'no')
        },
        compensate: ({ sku }, { tx, sagaId }) => effect(tx, 'stock', stockEffect(sagaId, 'undo ', sku)),
      },
    ),
  ],
})
/** The relays and the participant are other processes: they live on. */
const sender = createBinder({ service: 'relay', transport: memoryTransport({ broker }), bindings: [] })
const relays = [
  createRelay({ outbox, publisher: sender, idlePollMs: 10 }),
  createRelay({ outbox: stockOutbox, publisher: stock, idlePollMs: 10 }),
]

beforeAll(async () => {
  await sql.query('CREATE TABLE crash_effects (service text, what text)')
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
  const coordinator = createCoordinator({
    service: 'orders',
    sql: client,
    outbox,
    schema: schemas.orders,
    sagas: [saga],
    leaseMs: 100,
    pollMs: 10,
    drainTimeoutMs: 0,
  })
  const binder = createBinder({
    service: 'orders',
    transport: memoryTransport({ broker }),
    bindings: coordinator.bindings,
    sends: coordinator.channels,
    drainTimeoutMs: 0,
  })
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

/** One process that dies at its n-th step, then a second one that must bring the saga to its end. */
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
  const outcome = await (await second.coordinator.start(saga, { id, input: { refuse } })).outcome({ timeoutMs: 20_000 })
  await second.end()
  expect(outcome.status, id).toBe(refuse ? 'compensated' : 'completed')
  await expectEffects(id, refuse)
  return died
}

/** One process whose n-th statement or commit fails, or succeeds with its answer lost; it lives on. */
async function stumbleAt(n: number, when: 'before' | 'after', refuse: boolean): Promise<boolean> {
  const id = `stumble-${when}-${refuse}-${n}`
  const client = new MortalClient(sql, n, when, true)
  const start = async (process: Process) => process.coordinator.start(saga, { id, input: { refuse } })
  const only = (await boot(client).catch(rethrowUnlessDead)) ?? (await boot(client))
  const run = (await start(only).catch(rethrowUnlessDead)) ?? (await start(only))
  const outcome = await run.outcome({ timeoutMs: 20_000 }).catch(rethrowUnlessDead)
  expect((outcome ?? (await run.outcome({ timeoutMs: 20_000 }))).status, id).toBe(refuse ? 'compensated' : 'completed')
  await only.end()
  await expectEffects(id, refuse)
  return client.steps >= n
}

async function expectEffects(id: string, refuse: boolean): Promise<void> {
  const { rows } = await sql.query<{ what: string }>(
    `SELECT service || ' ' || substr(what, ${id.length + 2}) AS what FROM crash_effects WHERE what LIKE $1 ORDER BY what`,
    [`${id} %`],
  )
  const made = ['orders open', 'orders mark', 'orders box', 'stock reserve', 'stock label']
  const undone = made.map((what) => what.replace(' ', ' undo '))
  const expected = refuse ? [...made, ...undone] : [...made, 'orders confirm', 'stock pay']
  expect(rows.map(({ what }) => what).toSorted(), id).toEqual(expected.toSorted())
  const notes = new Set(plain.filter((what) => what.startsWith(`${id} `)).map((what) => what.slice(id.length + 1)))
  expect([...notes], id).toEqual(refuse ? ['note', 'undo note'] : ['note', 'tell'])
}

function rethrowUnlessDead(error: unknown): undefined {
  if (error instanceof Dead) return undefined
  throw error
}

describe('a coordinator whose database stumbles once', () => {
  test.each(['before', 'after'] as const)(
    'at any statement or commit, %s it is done, brings the saga to its end, each effect once',
    { timeout: 240_000 },
    async (when) => {
      let stumbles = 0
      for (let n = 1; await stumbleAt(n, when, n % 2 === 0); n++) stumbles = n
      expect(stumbles).toBeGreaterThan(10)
    },
  )
})

describe('a coordinator that dies at any statement or commit', () => {
  for (const refuse of [false, true]) {
    for (const when of ['before', 'after'] as const) {
      const title = `${when} it is done, leaves a saga that ${refuse ? 'compensates' : 'completes'}, each effect once`
      test(title, { timeout: 240_000 }, async () => {
        let deaths = 0
        for (let n = 1; await dieAt(n, when, refuse); n++) deaths = n
        expect(deaths).toBeGreaterThan(10)
      })
    }
  }
})
