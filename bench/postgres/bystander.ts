import { setTimeout as pause } from 'node:timers/promises'
import pg from 'pg'

const ACCOUNTS = 1_000
const EVERY_MS = 10

/** A small transaction of an application in the same database. */
export interface Bystander extends AsyncDisposable {
  /** Repeats the transaction beside `work`. @returns also how long each took */
  beside<T>(work: () => Promise<T>): Promise<{ readonly result: T; readonly samplesMs: readonly number[] }>
}

/** Its transaction moves money between two rows of its own table, on a connection of its own. */
export async function openBystander(connectionString: string): Promise<Bystander> {
  const client = new pg.Client({ connectionString })
  await client.connect()
  await client.query(
    `CREATE TABLE bystander AS SELECT id, 0 AS balance FROM generate_series(1, ${ACCOUNTS}) id;
     ALTER TABLE bystander ADD PRIMARY KEY (id)`,
  )
  let n = 0
  const transaction = async (): Promise<number> => {
    const startedAt = performance.now()
    n = (n + 1) % ACCOUNTS
    await client.query('BEGIN')
    await client.query('UPDATE bystander SET balance = balance - 1 WHERE id = $1', [n + 1])
    await client.query('UPDATE bystander SET balance = balance + 1 WHERE id = $1', [ACCOUNTS - n])
    await client.query('COMMIT')
    return performance.now() - startedAt
  }
  return {
    beside: async (work) => {
      const samplesMs: number[] = []
      let isOver = false
      const repeat = async (): Promise<void> => {
        while (!isOver) {
          samplesMs.push(await transaction())
          await pause(EVERY_MS)
        }
      }
      const repeated = repeat()
      try {
        return { result: await work(), samplesMs }
      } finally {
        isOver = true
        await repeated
      }
    },
    [Symbol.asyncDispose]: () => client.end(),
  }
}
