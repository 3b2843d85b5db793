// oxlint-disable no-restricted-imports -- inside of the coordinator: two transactions that meet in the middle
import { type SqlTransaction, systemClock } from 'concordat/core'
import { pgClient } from 'concordat/core/pg'
import pg from 'pg'
import { it } from 'vitest'
import { Committer, writePlans } from '../../../saga/coordinator/committer.ts'
import type { Plan } from '../../../saga/coordinator/write-plan.ts'
import { SagaStore } from '../../../saga/store/store.ts'
import type { SagaRow, SagaWrite } from '../../../saga/store/store-types.ts'
import { migrateSagas } from '../../../saga/store/tables.ts'
import { uniqueName } from '../../outbox/support/messages.ts'
import { describeWith, serverUrl } from '../../support/servers/index.ts'
import { gate, until } from '../../support/until.ts'

const outbox = { addEncoded: async () => {} }

function write(id: string, revision: number, starts?: readonly SagaWrite[]): SagaWrite {
  const row: SagaRow = {
    name: 'order',
    id,
    version: 1,
    graphHash: 'h',
    birth: 'b',
    state: { status: 'running', steps: [] } as unknown as SagaRow['state'],
    input: {},
    inputHash: 'h',
    revision,
    owner: null,
    epoch: 0,
    mail: null,
    deadlineInMs: null,
    sinceWriteMs: 0,
    ageMs: 0,
    trace: null,
  }
  return { row, previous: revision - 1, wakeMs: null, heedsDeadline: false, timeline: [], starts }
}

/** Batch of a coordinator: one saga advances, and a step of another one begins whose row exists already. */
const plansOf = (goesOn: string, begins: string): readonly Plan[] => [
  { write: write(goesOn, 2, [write(begins, 1)]), messages: [] } as unknown as Plan,
]

/** The tables of sagas in a schema of their own. */
async function tables(atEnd: (work: () => Promise<void>) => void) {
  const schema = uniqueName('committer')
  const pool = new pg.Pool({ connectionString: serverUrl('postgres'), max: 6, application_name: schema })
  const sql = pgClient(pool)
  atEnd(async () => {
    await pool.query(`DROP SCHEMA "${schema}" CASCADE`)
    await pool.end()
  })
  await migrateSagas(sql, schema)
  return { schema, pool, sql, store: new SagaStore(schema) }
}

describeWith(['postgres'], 'two batches, each of which begins a saga that the other one writes', () => {
  it('wait for each other in one order, and do not deadlock', async ({ expect, onTestFinished }) => {
    const { schema, pool, sql, store } = await tables(onTestFinished)
    await store.write(sql, [write('a', 1), write('b', 1)])
    let written = 0
    const isBlocked = async (): Promise<boolean> => {
      const { rows } = await pool.query(
        `SELECT FROM pg_stat_activity WHERE application_name = $1 AND wait_event_type = 'Lock'`,
        [schema],
      )
      return rows.length > 0
    }
    /** Transaction that continues after its first write when the other has made its own, or waits for this one. */
    const meeting = (tx: SqlTransaction): SqlTransaction => ({
      ...tx,
      query: async (text, parameters) => {
        const result = await tx.query<never>(text, parameters)
        if (text.includes('saga_write') && ++written <= 2) {
          await until('the other is as far, or waits', async () => written >= 2 || (await isBlocked()))
        }
        return result
      },
    })
    const batch = (goesOn: string, begins: string) =>
      sql.transaction((tx) => writePlans(meeting(tx), { store, outbox }, plansOf(goesOn, begins)))
    const ends = await Promise.allSettled([batch('b', 'a'), batch('a', 'b')])
    expect(ends).toEqual([1, 2].map(() => ({ status: 'fulfilled', value: new Set([0]) })))
  })
})

describeWith(['postgres'], 'starts of a saga that an open transaction has started, as of a frozen process', () => {
  it('keep no other saga from being written', async ({ expect, onTestFinished }) => {
    const { pool, sql, store } = await tables(onTestFinished)
    await store.write(sql, [write('running', 1)])
    const planOf = (id: string, revision: number) => ({ write: write(id, revision), messages: [] }) as unknown as Plan
    const committer = new Committer({ sql, store, outbox, clock: systemClock })
    const [inserted, frozen] = [gate(), gate()]
    const open = sql.transaction(async (tx) => {
      await store.write(tx, [write('a', 1)])
      inserted.open()
      await frozen.opened
    })
    onTestFinished(frozen.open)
    await inserted.opened
    const starts = []
    for (const waiting of [1, 2]) {
      starts.push(committer.commit(planOf('a', 1)))
      await until('it waits for the transaction', async () => {
        const { rows } = await pool.query(`SELECT FROM pg_locks WHERE locktype = 'transactionid' AND NOT granted`)
        return rows.length === waiting
      })
    }
    let isWritten = false
    const other = committer.commit(planOf('running', 2)).then((written) => (isWritten = written))
    await until('the other saga is written', () => isWritten, 5_000)
    await other
    frozen.open()
    await open
    expect(await Promise.all(starts)).toEqual([false, false])
  })
})
