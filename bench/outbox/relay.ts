/** Rate at which the relay empties a full table while it keeps the order. */
import { createRelay } from 'concordat/outbox'
import { type Measured, timed } from '../compare.ts'
import type { SuiteOptions } from '../main.ts'
import { type Bed, CheckingPublisher, makeMessages } from './bed.ts'

const BACKLOG = 100_000
/** Target as a share of the naive reader's rate. */
const RATIO = { atLeast: 0.9 } as const
/** Messages a second without a peer: the naive reader keeps no order of keys. */
const TARGET = { atLeast: 20_000 } as const

/** The relay beside a bare SELECT and DELETE without keys and leases. */
export async function measureRelay(bed: Bed, { measure }: Pick<SuiteOptions, 'measure'>): Promise<void> {
  await measure({
    what: `relay, ${BACKLOG} messages of as many keys, messages/s`,
    ours: () => drain(bed, BACKLOG),
    peer: { name: 'SELECT 1000, DELETE 1000 by pg, no keys, no leases', run: () => bareDrain(bed) },
    ratio: RATIO,
  })
  await measure({ what: 'relay, 4 keys in all, messages/s', ours: () => drain(bed, 4), target: TARGET })
}

/** Measures the time from a full table to an empty one. */
async function drain(bed: Bed, keys: number): Promise<Measured> {
  await bed.fill(makeMessages(BACKLOG, keys))
  const publisher = new CheckingPublisher(BACKLOG)
  await using relay = createRelay({ outbox: bed.outbox, publisher })
  return await timed(BACKLOG, async () => {
    await relay.start()
    await publisher.done
  })
}

async function bareDrain(bed: Bed): Promise<Measured> {
  await bed.fill(makeMessages(BACKLOG, BACKLOG))
  await bed.pool.query(`ANALYZE ${bed.table}`)
  const publisher = new CheckingPublisher(BACKLOG)
  return timed(BACKLOG, () => Promise.all([0, 1, 2, 3].map((partition) => barePartition(bed, partition, publisher))))
}

async function barePartition(bed: Bed, partition: number, publisher: CheckingPublisher): Promise<void> {
  for (;;) {
    const { rows } = await bed.pool.query<{ seq: string; id: string; aggregateid: string | null }>(
      `SELECT * FROM ${bed.table} WHERE partition = $1 ORDER BY seq LIMIT 1000`,
      [partition],
    )
    if (rows.length === 0) return
    await publisher.publish(rows.map(({ id, aggregateid }) => ({ id, key: aggregateid })))
    const seqs = rows.map((row) => row.seq)
    await bed.pool.query(`DELETE FROM ${bed.table} WHERE partition = $1 AND seq = ANY($2::bigint[])`, [partition, seqs])
  }
}
