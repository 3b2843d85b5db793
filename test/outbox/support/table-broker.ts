import type { EncodedMessage } from 'concordat/binder'
import type pg from 'pg'
import type { RelayPublisher } from '../../support/inside/outbox.ts'

/** A broker made of a table, so that what several processes published has one order. */
export const TABLE_BROKER = (schema: string): string =>
  `CREATE TABLE "${schema}".broker (n bigserial, id text, key text)`

export function tablePublisher(
  pool: pg.Pool,
  schema: string,
  afterCall: (calls: number) => void = () => {},
): RelayPublisher {
  let calls = 0
  return {
    async publish(messages: readonly EncodedMessage[]) {
      await pool.query(
        `INSERT INTO "${schema}".broker (id, key)
         SELECT m.id, m.key FROM unnest($1::text[], $2::text[]) WITH ORDINALITY AS m(id, key, n) ORDER BY n`,
        [messages.map((message) => message.id), messages.map((message) => message.key)],
      )
      afterCall(++calls)
      return messages.map(() => undefined)
    },
  }
}

/** Ids in the order in which each arrived first, per key. */
export async function firstArrivals(pool: pg.Pool, schema: string): Promise<Map<string, string[]>> {
  const { rows } = await pool.query<{ id: string; key: string }>(
    `SELECT id, key FROM "${schema}".broker GROUP BY id, key ORDER BY min(n)`,
  )
  return new Map([...Map.groupBy(rows, ({ key }) => key)].map(([key, list]) => [key, list.map(({ id }) => id)]))
}
