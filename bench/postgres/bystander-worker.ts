/** Moves money between two rows of its own table: from `begin` to `end`, which it answers with the duration of each transaction. */
import { setTimeout as pause } from 'node:timers/promises'
import pg from 'pg'
import { endWithParent } from '../processes.ts'

export interface BystanderReport {
  readonly did: 'ready' | 'transactions'
  readonly samplesMs?: readonly number[]
}

const ACCOUNTS = 1_000
const EVERY_MS = 10

const client = new pg.Client({ connectionString: process.argv[2] })
await client.connect()
await client.query(
  `CREATE TABLE bystander AS SELECT id, 0 AS balance FROM generate_series(1, ${ACCOUNTS}) id;
   ALTER TABLE bystander ADD PRIMARY KEY (id)`,
)
endWithParent()
let isOver = true
process.on('message', (order: { readonly do: 'begin' | 'end' }) => {
  isOver = order.do === 'end'
  if (!isOver) void repeat()
})
tell({ did: 'ready' })

async function repeat(): Promise<void> {
  const samplesMs: number[] = []
  while (!isOver) {
    samplesMs.push(await transaction(samplesMs.length % ACCOUNTS))
    await pause(EVERY_MS)
  }
  tell({ did: 'transactions', samplesMs })
}

async function transaction(n: number): Promise<number> {
  const startedAt = performance.now()
  await client.query('BEGIN')
  await client.query('UPDATE bystander SET balance = balance - 1 WHERE id = $1', [n + 1])
  await client.query('UPDATE bystander SET balance = balance + 1 WHERE id = $1', [ACCOUNTS - n])
  await client.query('COMMIT')
  return performance.now() - startedAt
}

function tell(report: BystanderReport): void {
  process.send?.(report)
}
