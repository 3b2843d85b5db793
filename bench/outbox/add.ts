/** Cost of `add` for a business transaction, beside the cost of the same row written by hand. */
import { setTimeout as sleep } from 'node:timers/promises'
import { defineChannel } from 'concordat/binder'
import type { SqlTransaction } from 'concordat/core'
import { z } from 'zod'
import { median, takeTurns } from '../compare.ts'
import { ascending, quantile } from '../distribution.ts'
import type { SuiteOptions } from '../main.ts'
import { number, type Table } from '../table.ts'
import { verdict } from '../target.ts'
import type { Bed } from './bed.ts'

const CLIENTS = 16
const LOAD_MS = 2_000
/** Time until each connection of PostgreSQL has flushed its statistics. */
const COUNTED_AFTER_MS = 1_200
/** Target as a share of the rate with a row written by hand: `add` costs a transaction no more. */
const TARGET = { atLeast: 1 } as const

const orderPlaced = defineChannel('orders.placed', {
  payload: z.object({ orderId: z.string(), note: z.string() }),
  key: (order) => order.orderId,
})
const ORDER = { orderId: 'order-1', note: 'x'.repeat(160) }

interface Side {
  readonly what: string
  readonly more: (tx: SqlTransaction) => Promise<unknown>
}

/** Result of one turn of a side. */
export interface AddTurn {
  readonly perSecond: number
  readonly eachMs: readonly number[]
  readonly serverCpuUs: number
  readonly walBytes: number
}

export async function measureAdd(bed: Bed, options: SuiteOptions): Promise<void> {
  const sides: readonly Side[] = [
    { what: 'UPDATE of a row of its own', more: async () => {} },
    { what: 'the same and outbox.add', more: (tx) => bed.outbox.add(tx, orderPlaced, ORDER) },
    { what: 'the same and a bare INSERT of such a row', more: (tx) => bareInsert(bed, tx) },
  ]
  options.progress(`what add costs: ${CLIENTS} transactions at a time`)
  const turns = await takeTurns(
    sides.map(
      ({ more }) =>
        () =>
          oneTurn(bed, more),
    ),
    { rounds: options.rounds },
  )
  const names = sides.map(({ what }) => what)
  options.report(addTable(names, turns))
}

const HEAD = [
  'transaction',
  'per s',
  'of the rate without',
  'ours / a bare INSERT',
  'p50 ms',
  'p95 ms',
  'CPU us of PostgreSQL',
  'WAL bytes',
  'target',
] as const

/** @param turns of each side: the transaction alone, with `add`, with a row written by hand */
export function addTable(names: readonly string[], turns: readonly (readonly AddTurn[])[]): Table {
  const [alone = [], added = [], byHand = []] = turns
  const beside = ratioOf(added, byHand)
  const rows = names.map((what, n) => {
    const mine = turns[n] ?? []
    const sorted = ascending(mine.flatMap(({ eachMs }) => eachMs))
    return [
      what,
      number(median(mine.map(({ perSecond }) => perSecond))),
      mine === alone ? '-' : ratioOf(mine, alone).toFixed(2),
      mine === added ? beside.toFixed(2) : '-',
      ...[0.5, 0.95].map((q) => number(quantile(sorted, q))),
      number(median(mine.map(({ serverCpuUs }) => serverCpuUs))),
      number(median(mine.map(({ walBytes }) => walBytes))),
      mine === added ? verdict(beside, TARGET) : '-',
    ]
  })
  return { title: `outbox: what enqueuing costs, ${CLIENTS} at a time`, head: HEAD, rows }
}

/** Ratio of the two rates, as the median of the rounds. */
function ratioOf(side: readonly AddTurn[], other: readonly AddTurn[]): number {
  return median(side.map(({ perSecond }, round) => perSecond / (other[round]?.perSecond ?? Number.NaN)))
}

async function oneTurn(bed: Bed, more: Side['more']): Promise<AddTurn> {
  await bed.empty()
  await sleep(COUNTED_AFTER_MS)
  const before = await bed.counters()
  const cpuBefore = bed.postgres.cpuUs()
  const { eachMs, ms } = await load(bed, more)
  const serverCpuUs = (bed.postgres.cpuUs() - cpuBefore) / eachMs.length
  const walBytes = ((await bed.counters()).walBytes - before.walBytes) / eachMs.length
  return { perSecond: (eachMs.length / ms) * 1_000, eachMs, serverCpuUs, walBytes }
}

async function load(bed: Bed, more: Side['more']): Promise<{ readonly eachMs: number[]; readonly ms: number }> {
  const startedAt = performance.now()
  const eachMs: number[] = []
  const client = async (n: number): Promise<void> => {
    while (performance.now() - startedAt < LOAD_MS) {
      const beganAt = performance.now()
      await bed.sql.transaction(async (tx) => {
        await tx.query(`UPDATE account SET n = n + 1 WHERE id = $1`, [n])
        await more(tx)
      })
      eachMs.push(performance.now() - beganAt)
    }
  }
  await Promise.all(Array.from({ length: CLIENTS }, (_, n) => client(n)))
  return { eachMs, ms: performance.now() - startedAt }
}

/** Inserts the row as a user would who has a table and the simplest kind of relay. */
function bareInsert(bed: Bed, tx: SqlTransaction): Promise<unknown> {
  return tx.query(
    `INSERT INTO ${bed.table} (partition, id, aggregatetype, aggregateid, type, payload, source, content_type, time)
     VALUES (0, gen_random_uuid()::text, 'orders.placed', $1, 'orders.placed', $2, 'bench', 'application/json', 0)`,
    [ORDER.orderId, Buffer.from(JSON.stringify(ORDER))],
  )
}
