import pg from 'pg'
import { type Measured, timed } from '../compare.ts'
import { atOnce, calls, type Payload, type Side, TAKEN } from './sides.ts'

/**
 * A queue as pgmq 1.11 has it: the table, the index and the statements of its `send_batch`, `send`, `read` and `delete`, sent as
 * they are, since its extension cannot be installed everywhere. No order of keys, no headers, no check.
 */
const TABLE = `CREATE TABLE q_bench (
  msg_id bigint PRIMARY KEY GENERATED ALWAYS AS IDENTITY, read_ct int NOT NULL DEFAULT 0,
  enqueued_at timestamptz NOT NULL DEFAULT now(), last_read_at timestamptz, vt timestamptz NOT NULL, message jsonb, headers jsonb)`
const SEND = `INSERT INTO q_bench (vt, message, headers)
  SELECT clock_timestamp(), unnest($1::jsonb[]), unnest(coalesce(null::jsonb[], ARRAY[]::jsonb[]))
  RETURNING msg_id`
const READ = `WITH cte AS (
    SELECT msg_id FROM q_bench WHERE vt <= clock_timestamp() ORDER BY msg_id ASC LIMIT $1 FOR UPDATE SKIP LOCKED)
  UPDATE q_bench m SET last_read_at = clock_timestamp(), vt = clock_timestamp() + interval '30 seconds', read_ct = read_ct + 1
  FROM cte WHERE m.msg_id = cte.msg_id RETURNING m.*`
const DELETE = 'DELETE FROM q_bench WHERE msg_id = ANY ($1::bigint[]) RETURNING msg_id'

export async function openPgmq(connectionString: string): Promise<Side> {
  const pool = new pg.Pool({ connectionString, max: 10 })
  pool.on('error', () => {})
  await pool.query(TABLE)
  await pool.query('CREATE INDEX ON q_bench (vt ASC)')
  const send = (list: readonly Payload[]): Promise<unknown> =>
    pool.query(SEND, [list.map((one) => JSON.stringify(one))])
  return {
    name: 'pgmq, as SQL',
    publish: (payloads) =>
      timed(payloads.length, async () => {
        for (const call of calls(payloads)) await send(call)
      }),
    singly: (payloads) => timed(payloads.length, () => atOnce(payloads, (payload) => send([payload]))),
    consume: (count) => consume(pool, count),
    [Symbol.asyncDispose]: () => pool.end(),
  }
}

function consume(pool: pg.Pool, count: number): Promise<Measured> {
  return timed(count, async () => {
    for (let left = count; left > 0; ) {
      const { rows } = await pool.query<{ msg_id: string; message: Payload }>(READ, [TAKEN])
      await pool.query(DELETE, [rows.map(({ msg_id }) => msg_id)])
      left -= rows.length
    }
  })
}
