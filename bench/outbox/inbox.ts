/**
 * Messages per second of a handler with an inbox, with and without shared transactions, beside the same handler with no
 * inbox.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { createBinder, defineChannel, type SinkBinding, sink } from 'concordat/binder'
import type { SqlExecutor } from 'concordat/core'
import { memoryTransport } from 'concordat/memory'
import { createInbox } from 'concordat/outbox'
import { z } from 'zod'
import { median, takeTurns, timed } from '../compare.ts'
import type { SuiteOptions } from '../main.ts'
import { number } from '../table.ts'
import { verdict } from '../target.ts'
import type { Bed } from './bed.ts'

const MESSAGES = 5_000
const CONCURRENCY = 64
const ROWS = 1_000
/** Time until each connection of PostgreSQL has flushed its statistics. */
const COUNTED_AFTER_MS = 1_200

const moved = defineChannel('stock.moved', {
  payload: z.object({ row: z.number(), units: z.number() }),
  key: ({ row }) => String(row),
})

interface Side {
  readonly what: string
  /** Index of the side by whose rate this side's is divided: the same handler written by hand. */
  readonly beside: number
  readonly binding: (done: () => void) => SinkBinding
}

interface Turn {
  readonly perSecond: number
  readonly serverCpuUs: number
  readonly cpuUs: number
  readonly commits: number
  readonly walBytes: number
}

export async function measureInbox(bed: Bed, options: SuiteOptions): Promise<void> {
  await bed.pool.query(`CREATE TABLE IF NOT EXISTS shelf AS SELECT id, 0 AS n FROM generate_series(0, ${ROWS - 1}) id`)
  await bed.pool.query(`CREATE UNIQUE INDEX IF NOT EXISTS shelf_id ON shelf (id)`)
  const sides = sidesOf(bed, await inboxOf(bed))
  options.progress(`handlers, ${CONCURRENCY} at a time`)
  const turns = await takeTurns(
    sides.map((side) => () => oneTurn(bed, side)),
    { rounds: options.rounds },
  )
  const rows = sides.map(({ what, beside }, n) => {
    const mine = turns[n] ?? []
    const byHand = turns[beside] ?? []
    const of = (pick: (turn: Turn) => number): string => number(median(mine.map(pick)))
    const ratio = median(mine.map((turn, round) => turn.perSecond / (byHand[round]?.perSecond ?? Number.NaN)))
    return [
      what,
      of((turn) => turn.perSecond),
      ratio.toFixed(2),
      of((turn) => turn.cpuUs),
      of((turn) => turn.serverCpuUs),
      of((turn) => turn.commits),
      of((turn) => turn.walBytes),
      n === 0 ? verdict(ratio, { atLeast: 2 }) : '-',
    ]
  })
  const title = `outbox: a handler with an inbox, ${CONCURRENCY} at a time, ${MESSAGES} messages of ${ROWS} keys, per message`
  const head = [
    'handler',
    'messages/s',
    'ratio',
    'CPU us of the process',
    'CPU us of PostgreSQL',
    'commits',
    'WAL bytes',
    'target',
  ]
  options.report({ title, head, rows })
}

async function inboxOf(bed: Bed): Promise<ReturnType<typeof createInbox>> {
  const inbox = createInbox({ sql: bed.sql })
  await inbox.migrate()
  return inbox
}

/** A handler's statements. */
type Move = (tx: SqlExecutor, row: number, units: number) => Promise<unknown>

const move: Move = (tx, row, units) => tx.query('UPDATE shelf SET n = n + $2 WHERE id = $1', [row, units])
const look: Move = async (tx, row, units) => {
  await tx.query('SELECT n FROM shelf WHERE id = $1 FOR UPDATE', [row])
  await move(tx, row, units)
}

function sidesOf({ sql }: Bed, inbox: ReturnType<typeof createInbox>): readonly Side[] {
  const withInbox =
    (group: string, work: Move, sharesTransactions: boolean): Side['binding'] =>
    (done) =>
      sink(moved, { group, concurrency: CONCURRENCY, inbox, sharesTransactions }, async ({ row, units }, { tx }) => {
        await work(tx, row, units)
        done()
      })
  const byHand =
    (group: string, work: Move): Side['binding'] =>
    (done) =>
      sink(moved, { group, concurrency: CONCURRENCY }, async ({ row, units }) => {
        await sql.transaction((tx) => work(tx, row, units))
        done()
      })
  return [
    { what: 'inbox, shared transactions', beside: 2, binding: withInbox('stock', move, true) },
    { what: 'inbox, a transaction each', beside: 2, binding: withInbox('stock', move, false) },
    { what: 'no inbox, a transaction each by hand', beside: 2, binding: byHand('stock', move) },
    { what: 'two statements: inbox, shared transactions', beside: 4, binding: withInbox('checked', look, true) },
    { what: 'two statements: no inbox, by hand', beside: 4, binding: byHand('checked', look) },
  ]
}

async function oneTurn(bed: Bed, { binding }: Side): Promise<Turn> {
  let left = MESSAGES
  const all = Promise.withResolvers<void>()
  const done = (): void => {
    if (--left === 0) all.resolve()
  }
  const binder = createBinder({
    service: 'bench',
    transport: memoryTransport(),
    bindings: [binding(done)],
    sends: [moved],
  })
  await bed.pool.query('TRUNCATE concordat.inbox')
  await binder.start()
  await sleep(COUNTED_AFTER_MS)
  const before = await bed.counters()
  const cpuBefore = bed.postgres.cpuUs()
  const own = process.cpuUsage()
  const measured = await timed(MESSAGES, async () => {
    const payloads = Array.from({ length: MESSAGES }, (_, i) => ({ row: (i * 7) % ROWS, units: 1 }))
    for (let i = 0; i < MESSAGES; i += 1_000) await binder.sendBatch(moved, payloads.slice(i, i + 1_000))
    await all.promise
  })
  await binder.close()
  const { user, system } = process.cpuUsage(own)
  const serverCpuUs = (bed.postgres.cpuUs() - cpuBefore) / MESSAGES
  await sleep(COUNTED_AFTER_MS)
  const after = await bed.counters()
  return {
    perSecond: (measured.units / measured.ms) * 1_000,
    cpuUs: (user + system) / MESSAGES,
    serverCpuUs,
    commits: (after.commits - before.commits) / MESSAGES,
    walBytes: (after.walBytes - before.walBytes) / MESSAGES,
  }
}
