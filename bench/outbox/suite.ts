import type { EncodedMessage } from 'concordat/binder'
import type { SqlTransaction } from 'concordat/core'
import { createRelay, type RelayPublisher } from 'concordat/outbox'
import { type Measured, timed } from '../compare.ts'
import type { SuiteOptions } from '../main.ts'
import { wantedParts } from '../parts.ts'
import { provideServer } from '../servers.ts'
import { Bed, makeMessages } from './bed.ts'

const BACKLOG = 100_000
const CLIENTS = 16
const LOAD_MS = 2_000

/** The relay beside a bare SELECT and DELETE without keys and leases, and what `add` costs a business transaction. */
export async function outboxSuite(options: SuiteOptions): Promise<void> {
  const wanted = wantedParts(options.only, ['relay', 'add'])
  await using stack = new AsyncDisposableStack()
  const server = await provideServer('postgres', stack)
  if ('missing' in server) return options.skip(server.missing)
  const bed = stack.use(await Bed.open(server.address))
  if (wanted('relay')) await measureRelay(bed, options)
  if (wanted('add')) await measureAdd(bed, options)
}

async function measureRelay(bed: Bed, options: SuiteOptions): Promise<void> {
  await options.measure({
    what: `relay, ${BACKLOG} messages of as many keys, messages/s`,
    ours: () => drain(bed, BACKLOG),
    peer: { name: 'SELECT 1000, DELETE 1000 by pg, no keys, no leases', run: () => bareDrain(bed) },
  })
  await options.measure({ what: 'relay, 4 keys in all, messages/s', ours: () => drain(bed, 4) })
}

/** From a full table to an empty one. The publisher confirms at once and checks the order of each key. */
async function drain(bed: Bed, keys: number): Promise<Measured> {
  await bed.fill(makeMessages(BACKLOG, keys))
  const done = Promise.withResolvers<void>()
  const last = new Map<string | null, string>()
  let left = BACKLOG
  const publisher: RelayPublisher = {
    async publish(messages) {
      for (const { id, key } of messages) {
        if ((last.get(key) ?? '') >= id) done.reject(new Error(`key ${key}: ${id} left after ${last.get(key)}`))
        last.set(key, id)
      }
      left -= messages.length
      if (left === 0) done.resolve()
      return messages.map(() => undefined)
    },
  }
  const relay = createRelay({ outbox: bed.outbox, publisher })
  const measured = await timed(BACKLOG, async () => {
    await relay.start()
    await done.promise
  })
  await relay.close()
  return measured
}

async function bareDrain(bed: Bed): Promise<Measured> {
  await bed.fill(makeMessages(BACKLOG, BACKLOG))
  await bed.pool.query(`ANALYZE ${bed.table}`)
  return timed(BACKLOG, () => Promise.all([0, 1, 2, 3].map((partition) => barePartition(bed, partition))))
}

async function barePartition(bed: Bed, partition: number): Promise<void> {
  for (;;) {
    const { rows } = await bed.pool.query<{ seq: string }>(
      `SELECT * FROM ${bed.table} WHERE partition = $1 ORDER BY seq LIMIT 1000`,
      [partition],
    )
    if (rows.length === 0) return
    const seqs = rows.map((row) => row.seq)
    await bed.pool.query(`DELETE FROM ${bed.table} WHERE partition = $1 AND seq = ANY($2::bigint[])`, [partition, seqs])
  }
}

async function measureAdd(bed: Bed, options: SuiteOptions): Promise<void> {
  const [message] = makeMessages(1, 1) as [EncodedMessage]
  await options.measure({
    what: `UPDATE and add in one transaction, ${CLIENTS} at a time, transactions/s`,
    ours: () => load(bed, (tx) => bed.outbox.addEncoded(tx, [message])),
    peer: { name: 'the same without add', run: () => load(bed, async () => {}) },
  })
}

async function load(bed: Bed, more: (tx: SqlTransaction) => Promise<void>): Promise<Measured> {
  await bed.empty()
  const startedAt = performance.now()
  let units = 0
  const client = async (n: number): Promise<void> => {
    while (performance.now() - startedAt < LOAD_MS) {
      await bed.sql.transaction(async (tx) => {
        await tx.query(`UPDATE account SET n = n + 1 WHERE id = $1`, [n])
        await more(tx)
      })
      units++
    }
  }
  await Promise.all(Array.from({ length: CLIENTS }, (_, n) => client(n)))
  return { units, ms: performance.now() - startedAt }
}
