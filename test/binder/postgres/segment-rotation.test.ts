import { defineChannel, sink } from 'concordat/binder'
import { postgresTransport } from 'concordat/postgres'
import { expect, it, onTestFinished } from 'vitest'
import { z } from 'zod'
import { LogLines } from '../../support/log-lines.ts'
import { until } from '../../support/until.ts'
import { onPglite, starterOn } from './support/on-pglite.ts'

const { sql } = onPglite()

let count = 0
const numbers = defineChannel('numbers', {
  payload: z.object({ n: z.number() }),
  partitions: 1,
  groups: ['g', 'behind'],
})

/** As if a right had been revoked. */
const refusing = (signature: string, returns: string): string =>
  `CREATE OR REPLACE FUNCTION {schema}.${signature} RETURNS ${returns} LANGUAGE plpgsql AS $$ BEGIN
     RAISE EXCEPTION 'permission denied for table transport_segment' USING ERRCODE = '42501'; END $$`

it.for([
  ['rotates', refusing('transport_rotate(p_bytes bigint, p_ms bigint, p_retention_ms bigint)', 'SETOF smallint')],
  ['clears', refusing('transport_clear(k smallint, p_most int)', 'boolean')],
  ['truncates', refusing('transport_truncate(k smallint)', 'boolean')],
] as const)(
  'health and one warning tell why the log is not freed when the server refuses what %s it',
  async ([, text]) => {
    const schema = `rotation${++count}`
    const run = (statement: string) => sql.query(statement.replaceAll('{schema}', schema))
    await postgresTransport({ sql, schema }).migrate()
    const { rows } = await run(
      `SELECT pg_get_functiondef(p.oid) AS text FROM pg_proc p WHERE p.pronamespace = '{schema}'::regnamespace
       AND p.proname IN ('transport_rotate', 'transport_clear', 'transport_truncate')`,
    )
    await run(text)
    const log = new LogLines()
    const bindings = [sink(numbers, { group: 'g' }, () => {})]
    const binder = await starterOn(sql, schema)(
      { sends: [numbers], bindings, logger: log.logger },
      { segmentMs: 1, retentionMs: 0 },
    )
    onTestFinished(() => binder.close())
    const told = /cannot be freed: .*permission denied for table transport_segment/
    await until('health tells it', async () => {
      await binder.send(numbers, { n: 1 })
      return told.test(binder.health().transport.detail ?? '')
    })
    expect(binder.health().status).toBe('up')
    expect(log.lines.filter(({ message }) => told.test(message))).toHaveLength(1)
    for (const row of rows) await run((row as { text: string }).text)
    await until(
      'the right is back, and nothing is told any longer',
      () => !told.test(binder.health().transport.detail ?? ''),
    )
  },
)
