/** Two branches on two databases in a kind of transaction, or with no coordination at all, in a process of its own. */
import { defineChannel, type SinkBinding } from 'concordat/binder'
import type { SqlClient, SqlTransaction } from 'concordat/core'
import { pgClient } from 'concordat/core/pg'
import { memoryBroker, memoryTransport } from 'concordat/memory'
import { defineSaga, localTarget, migrateParticipant, participant } from 'concordat/saga'
import { defineBranch, defineGlobalTransaction } from 'concordat/saga/global'
import { tccParticipant } from 'concordat/saga/tcc'
import { undo, undoParticipant } from 'concordat/saga/undo'
import { xaParticipant } from 'concordat/saga/xa'
import { createService, type Service } from 'concordat/service'
import pg from 'pg'
import { z } from 'zod'
import { serve } from '../serve.ts'
import type { Kind, Way } from './sides.ts'

const [kind, way, north, south, connections, accounts] = process.argv.slice(2) as [
  Kind,
  Way,
  string,
  string,
  string,
  string,
]
const pools = { north: poolOf(north), south: poolOf(south) }
const sql = { north: clientOf(pools.north), south: clientOf(pools.south) }

function poolOf(connectionString: string): pg.Pool {
  return new pg.Pool({ connectionString, max: Number(connections) })
}

function clientOf(pool: pg.Pool): SqlClient {
  return pgClient(pool, { preparedStatements: true })
}

const Move = z.object({ account: z.string(), cents: z.number().int() })
type Move = z.output<typeof Move>
const Transfer = z.object({ from: z.string(), to: z.string() })
type Transfer = z.output<typeof Transfer>
const moves = {
  north: defineChannel('north.moves', { payload: Move }),
  south: defineChannel('south.moves', { payload: Move }),
}
const withdrawal = ({ from }: Transfer): Move => ({ account: from, cents: -1 })
const deposit = ({ to }: Transfer): Move => ({ account: to, cents: 1 })

interface Inside {
  readonly tx: SqlTransaction
}

async function move({ account, cents }: Move, { tx }: Inside): Promise<void> {
  const text = 'UPDATE account SET balance = balance + $2, free = free + $2 WHERE id = $1'
  await tx.query(text, [account, cents])
}

const back = ({ account, cents }: Move, inside: Inside): Promise<void> => move({ account, cents: -cents }, inside)

async function hold({ account, cents }: Move, { tx }: Inside): Promise<void> {
  await tx.query('UPDATE account SET free = free + $2 WHERE id = $1 AND free + $2 >= 0', [account, Math.min(cents, 0)])
}

async function moveHeld({ account, cents }: Move, { tx }: Inside): Promise<void> {
  const text = 'UPDATE account SET balance = balance + $2, free = free + $3 WHERE id = $1'
  await tx.query(text, [account, cents, Math.max(cents, 0)])
}

async function letGo({ account, cents }: Move, { tx }: Inside): Promise<void> {
  await tx.query('UPDATE account SET free = free - $2 WHERE id = $1', [account, Math.min(cents, 0)])
}

const OPTIONS = { group: 'bank', concurrency: 64 } as const

function bank(house: 'north' | 'south'): SinkBinding {
  const channel = moves[house]
  if (kind === 'saga') {
    return participant(
      channel,
      { ...OPTIONS, sharesTransactions: true, effects: 'tx' },
      { invoke: move, compensate: back },
    )
  }
  if (kind === 'xa') return xaParticipant(channel, OPTIONS, move)
  if (kind === 'undo') return undoParticipant(channel, OPTIONS, move)
  const shared = { ...OPTIONS, sharesTransactions: true, effects: 'tx' } as const
  return tccParticipant(channel, shared, { try: hold, confirm: moveHeld, cancel: letGo })
}

const banks = { north: bank('north'), south: bank('south') }
const to =
  way === 'message'
    ? moves
    : {
        north: localTarget(moves.north, banks.north, { sql: sql.north }),
        south: localTarget(moves.south, banks.south, { sql: sql.south }),
      }
const saga = defineSaga('transfer-saga', { version: 1, input: Transfer })
  .command('withdraw', { to: to.north, request: ({ input }) => withdrawal(input), compensate: true })
  .command('deposit', { to: to.south, request: ({ input }) => deposit(input), compensate: true })
const tcc = defineSaga('transfer-tcc', { version: 1, input: Transfer })
  .tcc('withdraw', { to: to.north, request: ({ input }) => withdrawal(input) })
  .tcc('deposit', { to: to.south, request: ({ input }) => deposit(input) })
const branches = {
  north: defineBranch('north', { to: to.north }),
  south: defineBranch('south', { to: to.south }),
}
const code = defineGlobalTransaction('transfer-code', {
  input: Transfer,
  branches: [branches.north, branches.south],
})

/** The coordinator is in the database of the north. */
async function startServices(): Promise<Service> {
  for (const client of [sql.north, sql.south]) {
    await migrateParticipant(client)
    if (kind === 'undo') await undo.protect(client, ['account'])
  }
  const broker = memoryBroker()
  const one = createService({
    name: 'north',
    sql: sql.north,
    transport: memoryTransport({ broker }),
    sagas: [saga, tcc, code],
    bindings: way === 'message' ? [banks.north] : [],
    parts: { coordinator: { concurrency: 256 } },
  })
  const other = createService({
    name: 'south',
    sql: sql.south,
    transport: memoryTransport({ broker }),
    bindings: [banks.south],
  })
  if (way === 'message') await other.start()
  await one.start()
  return one
}

function random(): Transfer {
  const account = (): string => `a-${Math.floor(Math.random() * Number(accounts))}`
  return { from: account(), to: account() }
}

async function bare(): Promise<void> {
  const input = random()
  await sql.north.transaction((tx) => move(withdrawal(input), { tx }))
  await sql.south.transaction((tx) => move(deposit(input), { tx }))
}

/** Does a TCC transaction's work on both databases, with no record of it for after a crash. */
async function tccByHand(): Promise<void> {
  const input = random()
  await sql.north.transaction((tx) => hold(withdrawal(input), { tx }))
  await sql.south.transaction((tx) => hold(deposit(input), { tx }))
  await sql.north.transaction((tx) => moveHeld(withdrawal(input), { tx }))
  await sql.south.transaction((tx) => moveHeld(deposit(input), { tx }))
}

/** The same of XA. */
async function xaByHand(id: string): Promise<void> {
  const input = random()
  await prepared(pools.north, `${id}-north`, withdrawal(input))
  await prepared(pools.south, `${id}-south`, deposit(input))
  await pools.north.query(`COMMIT PREPARED '${id}-north'`)
  await pools.south.query(`COMMIT PREPARED '${id}-south'`)
}

async function prepared(pool: pg.Pool, id: string, request: Move): Promise<void> {
  const client = await pool.connect()
  try {
    await client.query('BEGIN')
    await move(request, { tx: client as unknown as SqlTransaction })
    await client.query(`PREPARE TRANSACTION '${id}'`)
  } finally {
    client.release()
  }
}

const BY_HAND: Readonly<Partial<Record<Kind, (id: string) => Promise<void>>>> = {
  bare,
  tcc: tccByHand,
  xa: xaByHand,
}

function transact(service: Service): (id: string) => Promise<void> {
  if (kind === 'code') {
    return async (id) => {
      const input = random()
      await service.globalTransaction(code, { id, input }, async (global) => {
        await global.call(branches.north, withdrawal(input))
        await global.call(branches.south, deposit(input))
      })
    }
  }
  const definition = kind === 'saga' ? saga : tcc
  return async (id) => {
    const run = await service.run(definition, { id, input: random() })
    const { status } = await run.outcome()
    if (status !== 'completed') throw new Error(`transfer ${id}: ${status}`)
  }
}

const byHand = way === 'none' ? BY_HAND[kind] : undefined
serve(byHand ?? transact(await startServices()))
