/**
 * Money moves from one bank to another by a saga, or by try, confirm and cancel. The desk and both banks have two
 * instances each.
 */

import type { SimulatedInstance, SimulatedWorld } from '@concordat/simulator'
import { createBinder, defineChannel, type EncodedMessage, type SinkBinding } from 'concordat/binder'
import type { SqlClient, SqlExecutor } from 'concordat/core'
import { createOutbox, createRelay, type Outbox } from 'concordat/outbox'
import { defineSaga, migrateParticipant, participant, Refusal, sagaReplies } from 'concordat/saga'
import { createCoordinator } from 'concordat/saga/coordinator'
import { tccParticipant } from 'concordat/saga/tcc'
import { z } from 'zod'
import { forgetful } from '../../faults/harness/forgetful.ts'
import { persist } from '../persist.ts'
import { createWithout, rewritten, sendsFirst } from '../planted.ts'
import { databaseOf, type Setting, type Workload } from '../workload.ts'

const Move = z.object({ account: z.string(), cents: z.number().int() })
type Move = z.infer<typeof Move>
const Transfer = z.object({ from: z.string(), to: z.string(), cents: z.number().int() })

const BANKS = { north: 'home', south: 'away' } as const
type Bank = keyof typeof BANKS
const channelOf = (bank: Bank, kind: string) =>
  defineChannel(`${bank}.${kind}`, { payload: Move, key: ({ account }) => account, groups: [bank], partitions: 2 })
const MOVES = { north: channelOf('north', 'moves'), south: channelOf('south', 'moves') }
const HOLDS = { north: channelOf('north', 'holds'), south: channelOf('south', 'holds') }

const PATIENT = { maxAttempts: 1_000, initialMs: 100, maxMs: 1_000 }
const ASKS = { timeoutMs: 2_000, retry: PATIENT, compensationRetry: PATIENT }
const LEASE_MS = 2_000
const POLL_MS = 500
const OPENS_WITH = 100
const ACCOUNTS = 3
const CLOSED = 'closed'

type Input = z.infer<typeof Transfer>
const withdrawal = ({ input }: { readonly input: Input }): Move => ({ account: input.from, cents: -input.cents })
const deposit = ({ input }: { readonly input: Input }): Move => ({ account: input.to, cents: input.cents })

const bySaga = defineSaga('by-saga', { version: 1, input: Transfer })
  .command('withdraw', { ...ASKS, to: MOVES.north, request: withdrawal, compensate: true })
  .command('deposit', { ...ASKS, to: MOVES.south, request: deposit, compensate: true })
const byTcc = defineSaga('by-tcc', { version: 1, input: Transfer })
  .tcc('withdraw', { ...ASKS, confirmRetry: PATIENT, to: HOLDS.north, request: withdrawal })
  .tcc('deposit', { ...ASKS, confirmRetry: PATIENT, to: HOLDS.south, request: deposit })
const SAGAS = [bySaga, byTcc]

interface InBank {
  readonly tx: SqlExecutor
  readonly key: string
}

/** Every effect leaves a line in its transaction; nothing keeps the same one from being there twice. */
const leaves = (operation: string, work: (move: Move, tx: SqlExecutor) => Promise<void>) => {
  return async (move: Move, { tx, key }: InBank): Promise<void> => {
    await work(move, tx)
    await tx.query('INSERT INTO effect (key, operation) VALUES ($1, $2)', [key, operation])
  }
}

async function add(tx: SqlExecutor, { account, cents }: Move): Promise<void> {
  if (account === CLOSED) throw new Refusal('bank.closed', 'the account is closed')
  const { rowCount } = await tx.query(
    'UPDATE account SET balance = balance + $2, free = free + $2 WHERE id = $1 AND free + $2 >= 0',
    [account, cents],
  )
  if (rowCount === 0) throw new Refusal('bank.no_funds', 'there is not so much')
}

async function change(tx: SqlExecutor, account: string, balance: number, free: number): Promise<void> {
  const text = 'UPDATE account SET balance = balance + $2, free = free + $3 WHERE id = $1'
  await tx.query(text, [account, balance, free])
}

const MOVING = {
  invoke: leaves('invoke', (move, tx) => add(tx, move)),
  compensate: leaves('compensate', ({ account, cents }, tx) => change(tx, account, -cents, -cents)),
}

const HOLDING = {
  try: leaves('invoke', async ({ account, cents }, tx) => {
    if (account === CLOSED) throw new Refusal('bank.closed', 'the account is closed')
    if (cents > 0) return
    const text = 'UPDATE account SET free = free + $2 WHERE id = $1 AND free + $2 >= 0'
    const { rowCount } = await tx.query(text, [account, cents])
    if (rowCount === 0) throw new Refusal('bank.no_funds', 'there is not so much')
  }),
  confirm: leaves('confirm', ({ account, cents }, tx) => change(tx, account, cents, Math.max(cents, 0))),
}
const letGo = leaves('compensate', ({ account, cents }, tx) => change(tx, account, 0, -Math.min(cents, 0)))

/** Bindings of a process of a bank. */
function participants(bank: Bank, sql: SqlClient, outbox: Outbox, broken: string | undefined): readonly SinkBinding[] {
  const options = { group: bank, concurrency: 4, sql, outbox, schema: bank }
  const cancel = (move: Move, context: InBank & { readonly tried: boolean }): Promise<void> =>
    context.tried ? letGo(move, context) : Promise.resolve()
  const holds = tccParticipant(HOLDS[bank], { ...options, effects: 'tx' }, { ...HOLDING, cancel })
  const effects = broken === 'moves-back-blindly' ? 'anywhere' : 'tx'
  const moves =
    broken === 'no-dedupe'
      ? forgetful(MOVES[bank], { ...options, service: 'desk' }, MOVING)
      : participant(MOVES[bank], { ...options, effects }, MOVING)
  return [moves, holds]
}

async function startBank(bank: Bank, instance: SimulatedInstance, broken: string | undefined): Promise<void> {
  const sql = instance.sql(BANKS[bank])
  const { transport, logger } = instance
  const outbox = createOutbox({ sql, service: bank, schema: bank, partitions: 1 })
  const bindings = participants(bank, sql, outbox, broken)
  const binder = createBinder({ service: bank, transport, logger, bindings, sends: [sagaReplies('desk')] })
  await binder.start()
  await createRelay({ outbox, publisher: binder, leaseMs: LEASE_MS, idlePollMs: POLL_MS, logger }).start()
}

async function startDesk(instance: SimulatedInstance, broken: string | undefined): Promise<void> {
  const { name, transport, logger } = instance
  const sql = broken === 'no-epoch' ? rewritten(instance.sql('home'), unchecked) : instance.sql('home')
  const outbox = createOutbox({ sql, service: 'desk', partitions: 1 })
  const written = broken === 'decision-after-phase-two' ? sendsFirst(outbox, isConfirm) : outbox
  const times = { leaseMs: LEASE_MS, pollMs: POLL_MS }
  const options = { service: 'desk', sql: written.sql, outbox: written, sagas: SAGAS, ...times, logger }
  const desk = createCoordinator({ ...options, instance: `${name}/${instance.generation}` })
  const binder = createBinder({ service: 'desk', transport, logger, bindings: desk.bindings, sends: desk.channels })
  await binder.start()
  await desk.run()
  await createRelay({ outbox, publisher: binder, leaseMs: LEASE_MS, idlePollMs: POLL_MS, logger }).start()
}

async function prepare(bank: Bank, sql: SqlClient): Promise<void> {
  await createOutbox({ sql, service: bank, schema: bank, partitions: 1 }).migrate()
  await migrateParticipant(sql, bank)
  await sql.query('CREATE TABLE IF NOT EXISTS account (id text PRIMARY KEY, balance int NOT NULL, free int NOT NULL)')
  await sql.query(
    'CREATE TABLE IF NOT EXISTS effect (n bigserial PRIMARY KEY, key text NOT NULL, operation text NOT NULL)',
  )
  const text = 'INSERT INTO account SELECT id, $2, $2 FROM unnest($1::text[]) AS id ON CONFLICT DO NOTHING'
  await sql.query(text, [Array.from({ length: ACCOUNTS }, (_, n) => accountOf(bank, n)), OPENS_WITH])
}

const accountOf = (bank: Bank, n: number): string => `${bank}-${n}`

const isConfirm = ({ headers }: EncodedMessage): boolean => headers['saga-operation'] === 'confirm'

const UNCHECKED = { name: 'concordat.saga_write', as: 'saga_write_unchecked', part: 'AND s.revision = w.revision - 1' }
const unchecked = (text: string): string => text.replace('.saga_write(', '.saga_write_unchecked(')

async function prepareDesk(sql: SqlClient, broken: string | undefined): Promise<void> {
  const outbox = createOutbox({ sql, service: 'desk', partitions: 1 })
  await outbox.migrate()
  await createCoordinator({ service: 'desk', sql, outbox, sagas: SAGAS }).migrate()
  if (broken === 'no-epoch') await createWithout(sql, UNCHECKED)
}

/** The customers, who start transfers, and an operator who cancels some. */
async function trade(world: SimulatedWorld): Promise<void> {
  const { logger } = world.client
  const sql = world.client.sql('home')
  const outbox = createOutbox({ sql, service: 'desk', partitions: 1 })
  const desk = createCoordinator({ service: 'desk', sql, outbox, sagas: SAGAS, instance: 'customer', logger })
  for (let n = 0; n < world.size; n++) {
    const id = `t-${n}`
    const to = world.random() < 0.2 ? CLOSED : accountOf('south', world.between(0, ACCOUNTS - 1))
    const input = { from: accountOf('north', world.between(0, ACCOUNTS - 1)), to, cents: world.between(1, 60) }
    const saga = world.random() < 0.5 ? bySaga : byTcc
    await persist(world, () => desk.start(saga, { id, input }))
    await world.sleep(world.between(0, 400))
    if (world.random() < 0.2) {
      const target = { saga: saga.name, id }
      await desk
        .cancel(target, { by: 'operator', reason: 'wanted so' })
        .catch((error: Error) => world.note(error.message))
    }
  }
  await world.sleep(world.between(500, 4_000))
}

async function isSettled(world: SimulatedWorld): Promise<boolean> {
  const { rows } = await world.client
    .sql('home')
    .query<{ open: number }>(
      'SELECT (SELECT count(*) FROM concordat.saga WHERE ended_at IS NULL)::int + (SELECT count(*) FROM concordat.outbox)::int AS open',
    )
  return rows[0]?.open === 0
}

async function requireMoney(world: SimulatedWorld): Promise<void> {
  const sums = await Promise.all(
    Object.values(BANKS).map((name) =>
      world.client
        .sql(name)
        .query<{ cents: number; held: number }>(
          'SELECT sum(balance)::int AS cents, sum(balance - free)::int AS held FROM account',
        ),
    ),
  )
  const sum = (field: 'cents' | 'held'): number => sums.reduce((total, { rows }) => total + (rows[0]?.[field] ?? 0), 0)
  const expected = 2 * ACCOUNTS * OPENS_WITH
  if (sum('cents') !== expected) throw new Error(`${sum('cents')} cents where there were ${expected}`)
  if (sum('held') !== 0) throw new Error(`${sum('held')} cents are still held`)
}

async function requireEffectsOnce(world: SimulatedWorld): Promise<void> {
  for (const name of Object.values(BANKS)) {
    const { rows } = await world.client
      .sql(name)
      .query<{ key: string; operation: string }>(
        'SELECT key, operation FROM effect GROUP BY 1, 2 HAVING count(*) > 1 ORDER BY 1, 2',
      )
    if (rows.length > 0)
      throw new Error(`more than once: ${rows.map(({ key, operation }) => `${operation} of ${key}`).join(', ')}`)
  }
}

/** A saga that has completed did each step and took none back; any other took back each that it did. */
async function requireWholeEnds(world: SimulatedWorld): Promise<void> {
  const home = world.client.sql('home')
  const { rows: sagas } = await home.query<{ id: string; status: string }>('SELECT id, status FROM concordat.saga')
  if (sagas.length !== world.size) throw new Error(`${sagas.length} sagas of ${world.size} that were accepted`)
  const found = await Promise.all(
    Object.values(BANKS).map((name) =>
      world.client.sql(name).query<{ key: string; operation: string }>('SELECT key, operation FROM effect'),
    ),
  )
  const effects = found.flatMap(({ rows }) => rows)
  for (const { id, status } of sagas) {
    const own = effects.filter(({ key }) => key.split('/').includes(id) || key.includes(`:${id}:`))
    const count = (operation: string): number => own.filter((effect) => effect.operation === operation).length
    const isWhole =
      status === 'completed'
        ? count('invoke') === 2 && count('compensate') === 0
        : status === 'compensated' && count('invoke') === count('compensate') && count('confirm') === 0
    if (!isWhole)
      throw new Error(
        `${id} is ${status}, with ${own.map(({ key, operation }) => `${operation} of ${key}`).join(', ') || 'nothing'}`,
      )
  }
}

export const transfers: Workload = {
  about: 'sagas and TCC between two banks; operators cancel; money is constant',
  mistakes: {
    'no-epoch': 'a saga is written whoever has it by now',
    'no-dedupe': 'a participant does what each message says',
    'moves-back-blindly':
      'a compensation is called for what failed, and does not look whether there is anything to take back',
    'decision-after-phase-two': 'a TCC confirms before its decision is written',
  },
  databases: Object.values(BANKS),
  size: 4,
  options: (setting: Setting) => ({
    services: {
      desk: { start: (instance) => startDesk(instance, setting.broken) },
      north: { start: (instance) => startBank('north', instance, setting.broken) },
      south: { start: (instance) => startBank('south', instance, setting.broken) },
    },
    databases: {
      home: {
        ...databaseOf(setting, 'home'),
        prepare: async (sql) => {
          await prepareDesk(sql, setting.broken)
          await prepare('north', sql)
        },
      },
      away: { ...databaseOf(setting, 'away'), prepare: (sql) => prepare('south', sql) },
    },
    workload: trade,
    settled: isSettled,
    invariants: {
      'money is constant': requireMoney,
      'no effect twice': requireEffectsOnce,
      'whole or nothing': requireWholeEnds,
    },
  }),
}
