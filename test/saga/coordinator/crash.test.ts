import type { SqlClient } from 'concordat/core'
import { defineSaga, participant, Refusal } from 'concordat/saga'
import type { Coordinator } from 'concordat/saga/coordinator'
import { describe, expect, test } from 'vitest'
import { z } from 'zod'
import { STRIDE } from '../../support/suite/night.ts'
import { crashWorld, type Process, rethrowUnlessDead } from '../support/crash-world.ts'
import { MortalClient } from '../support/mortal.ts'
import { FAST, stockCommands } from '../support/world.ts'

const Input = z.object({ refuse: z.boolean() })
const plain: string[] = []
/** Else each step that stumbles waits a second before it is tried again. */
const SOON = { retry: FAST, compensationRetry: FAST }

const pack = defineSaga('pack', { version: 1, input: z.object({ of: z.string() }) })
  .step('box', {
    transactional: true,
    ...SOON,
    invoke: ({ tx, input }) => effect(tx, 'orders', `${input.of} box`),
    compensate: ({ tx, input }) => effect(tx, 'orders', `${input.of} undo box`),
  })
  .command('label', {
    to: stockCommands,
    request: ({ input }) => ({ sku: `label ${input.of}`, n: 1 }),
    compensate: true,
    ...SOON,
  })

const saga = defineSaga('crash', { version: 1, input: Input })
  .step('open', {
    transactional: true,
    ...SOON,
    invoke: ({ tx, sagaId }) => effect(tx, 'orders', `${sagaId} open`),
    compensate: ({ tx, sagaId }) => effect(tx, 'orders', `${sagaId} undo open`),
  })
  .parallel((group) =>
    group
      .step('note', {
        ...SOON,
        invoke: ({ sagaId }) => void plain.push(`${sagaId} note`),
        compensate: ({ sagaId }) => void plain.push(`${sagaId} undo note`),
      })
      .step('mark', {
        transactional: true,
        ...SOON,
        invoke: ({ tx, sagaId }) => effect(tx, 'orders', `${sagaId} mark`),
        compensate: ({ tx, sagaId }) => effect(tx, 'orders', `${sagaId} undo mark`),
      })
      .command('reserve', { to: stockCommands, request: () => ({ sku: 'reserve', n: 1 }), compensate: true, ...SOON }),
  )
  .saga('pack', { saga: pack, input: ({ sagaId }) => ({ of: sagaId }), compensate: true })
  .command('pay', {
    to: stockCommands,
    request: ({ input }) => ({ sku: input.refuse ? 'refuse' : 'pay', n: 1 }),
    compensate: true,
    ...SOON,
  })
  .step('confirm', {
    pivot: true,
    transactional: true,
    ...SOON,
    invoke: ({ tx, sagaId }) => effect(tx, 'orders', `${sagaId} confirm`),
  })
  .step('tell', { ...SOON, invoke: ({ sagaId }) => void plain.push(`${sagaId} tell`) })

/** Effect recorded under the id of the saga to whose step it belongs. */
function stockEffect(sagaId: string, undo: string, sku: string): string {
  const [what, of = sagaId] = sku.split(' ')
  return `${of} ${undo}${what}`
}

async function effect(tx: SqlClient | { query: SqlClient['query'] }, service: string, what: string): Promise<void> {
  await tx.query('INSERT INTO crash_effects VALUES ($1, $2)', [service, what])
}

const world = crashWorld({
  name: 'crash',
  sagas: [saga],
  tables: 'CREATE TABLE crash_effects (service text, what text)',
  participant: (side) =>
    participant(
      stockCommands,
      { group: 'stock', backoff: FAST, ...side },
      {
        invoke: async ({ sku }, { tx, sagaId }) => {
          await effect(tx, 'stock', stockEffect(sagaId, '', sku))
          if (sku === 'refuse') throw new Refusal('stock.no', 'no')
        },
        compensate: ({ sku }, { tx, sagaId }) => effect(tx, 'stock', stockEffect(sagaId, 'undo ', sku)),
      },
    ),
})

/** Runs a process that dies at its n-th step, then a second one that must bring the saga to its end. */
async function dieAt(n: number, when: 'before' | 'after', refuse: boolean): Promise<boolean> {
  const id = `${when}-${refuse}-${n}`
  const outcome = async (coordinator: Coordinator) =>
    (await coordinator.start(saga, { id, input: { refuse } })).outcome({ timeoutMs: 20_000 })
  const died = await world.dieAt(n, when, {
    first: outcome,
    second: async (coordinator) =>
      expect((await outcome(coordinator)).status, id).toBe(refuse ? 'compensated' : 'completed'),
  })
  await expectEffects(id, refuse)
  return died
}

/** Runs a process whose n-th statement or commit fails, or succeeds with its answer lost; it lives on. */
async function stumbleAt(n: number, when: 'before' | 'after', refuse: boolean): Promise<boolean> {
  const id = `stumble-${when}-${refuse}-${n}`
  const client = new MortalClient(world.sql, n, when, true)
  const start = async (process: Process) => process.coordinator.start(saga, { id, input: { refuse } })
  const only = (await world.boot(client).catch(rethrowUnlessDead)) ?? (await world.boot(client))
  const run = (await start(only).catch(rethrowUnlessDead)) ?? (await start(only))
  const outcome = await run.outcome({ timeoutMs: 20_000 }).catch(rethrowUnlessDead)
  expect((outcome ?? (await run.outcome({ timeoutMs: 20_000 }))).status, id).toBe(refuse ? 'compensated' : 'completed')
  await only.end()
  await expectEffects(id, refuse)
  return client.steps >= n
}

async function expectEffects(id: string, refuse: boolean): Promise<void> {
  const { rows } = await world.sql.query<{ what: string }>(
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

describe('a coordinator with one database error', () => {
  test.each(['before', 'after'] as const)(
    'at any statement or commit, %s its execution, brings the saga to its end, each effect once',
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
        for (let n = 1; await dieAt(n, when, refuse); n += STRIDE) deaths = n
        expect(deaths).toBeGreaterThan(10)
      })
    }
  }
})
