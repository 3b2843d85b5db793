import pg from 'pg'
import { type Measured, timed } from '../compare.ts'
import { atOnce, calls, type Payload, type Side, TAKEN } from './sides.ts'

/** The same confirmed work by hand: one table, one index, INSERT in 1 000s; a reader that deletes the rows it takes. */
export async function openBare(connectionString: string): Promise<Side> {
  const pool = new pg.Pool({ connectionString, max: 10 })
  await pool.query(
    'CREATE TABLE bare (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, key text, meta json NOT NULL, body text NOT NULL)',
  )
  return {
    name: 'bare pg',
    publish: (payloads) =>
      timed(payloads.length, async () => {
        for (const call of calls(payloads)) await insert(pool, call)
      }),
    singly: (payloads) => timed(payloads.length, () => atOnce(payloads, (payload) => insert(pool, [payload]))),
    consume: (count) => consume(pool, count),
    [Symbol.asyncDispose]: () => pool.end(),
  }
}

function insert(pool: pg.Pool, list: readonly Payload[]): Promise<unknown> {
  return pool.query(
    `INSERT INTO bare (key, meta, body) SELECT m.key, m.meta::json, m.body
     FROM unnest($1::text[], $2::text[], $3::text[]) WITH ORDINALITY AS m(key, meta, body, n) ORDER BY m.n`,
    [
      list.map(({ key }) => key),
      list.map(({ n }) => JSON.stringify([`${n}`.padStart(36, '0'), 'bench', 'bench', 'application/json', Date.now()])),
      list.map((payload) => JSON.stringify(payload)),
    ],
  )
}

function consume(pool: pg.Pool, count: number): Promise<Measured> {
  return timed(count, async () => {
    for (let left = count; left > 0; ) {
      const { rows } = await pool.query<{ body: string }>(
        `WITH taken AS (SELECT id FROM bare ORDER BY id LIMIT $1 FOR UPDATE)
         DELETE FROM bare USING taken WHERE bare.id = taken.id RETURNING body`,
        [TAKEN],
      )
      for (const { body } of rows) JSON.parse(body)
      left -= rows.length
    }
  })
}
