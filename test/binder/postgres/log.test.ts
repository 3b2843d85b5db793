import { type Binder, type BinderOptions, createBinder, defineChannel, encodeMessage, sink } from 'concordat/binder'
import { type SqlClient, textCodec } from 'concordat/core'
import { type PostgresTransport, postgresTransport } from 'concordat/postgres'
import { describe, expect, it, onTestFinished } from 'vitest'
import { z } from 'zod'
import type { PostgresTransportOptions } from '../../support/inside/binder.ts'
import { LogLines } from '../../support/log-lines.ts'
import { gate, until } from '../../support/until.ts'
import { onPglite } from './support/on-pglite.ts'

const { sql } = onPglite()

let count = 0
const Payload = z.object({ n: z.number() })

/** Calls `look` before a closed segment is cleared. */
function withLook(look: () => Promise<void> | undefined): SqlClient {
  const query: SqlClient['query'] = async (text, parameters) => {
    if (text.includes('transport_clear')) await look()
    return sql.query(text, parameters)
  }
  return new Proxy(sql, { get: (of, name) => (name === 'query' ? query : Reflect.get(of, name, of)) })
}

function setup(options: Partial<PostgresTransportOptions> = {}) {
  const schema = `log${++count}`
  const numbers = defineChannel('numbers', {
    payload: Payload,
    key: ({ n }) => String(n % 3),
    partitions: 2,
    groups: ['g'],
  })
  const transports: PostgresTransport[] = []
  const started = async (more: Partial<BinderOptions> = {}): Promise<Binder> => {
    const transport = postgresTransport({ sql, schema, segmentMs: 1, retentionMs: 0, ...options })
    transports.push(transport)
    const binder = createBinder({ service: 'test', transport, sends: [numbers], ...more })
    onTestFinished(() => binder.close())
    await binder.start()
    await binder.ready()
    return binder
  }
  const table = async <Row extends object>(text: string): Promise<readonly Row[]> =>
    (await sql.query<Row>(text.replaceAll('{schema}', `"${schema}"`))).rows
  const rowsOf = async (name: string): Promise<number> =>
    Number((await table<{ n: number }>(`SELECT count(*)::int AS n FROM {schema}.${name}`))[0]?.n)
  const emptySegments = async (): Promise<number> =>
    Number(
      (await table<{ n: number }>('SELECT count(*)::int AS n FROM {schema}.transport_segment WHERE is_empty'))[0]?.n,
    )
  return { schema, numbers, started, transports, table, rowsOf, emptySegments }
}

describe('the ring of segments', () => {
  it('is freed when every group has settled its messages', async () => {
    const t = setup()
    const got: number[] = []
    const binder = await t.started({ bindings: [sink(t.numbers, { group: 'g' }, ({ n }) => void got.push(n))] })
    for (let n = 0; n < 30; n++) await binder.send(t.numbers, { n })
    await until('all are handled', () => got.length === 30)
    await until('nothing is left but the newest tick of each partition', async () => {
      await binder.send(t.numbers, { n: 0 })
      return (await t.emptySegments()) >= 2 && (await t.rowsOf('transport_log')) < 15
    })
    expect(got.length).toBeGreaterThanOrEqual(30)
  })

  it('is freed in steps, so that the step that blocks all partitions has almost no work left', async () => {
    const t = setup({ segmentMs: 200, sql: withLook(() => (isFilled ? look() : undefined)) })
    const left: number[] = []
    let isFilled = false
    const look = async (): Promise<void> => {
      const [row] = await t.table<{ n: number }>(
        'SELECT count(*)::int AS n FROM {schema}.transport_tick, {schema}.transport_ring r WHERE NOT r.current = ANY (segments)',
      )
      left.push(Number(row?.n))
    }
    const binder = await t.started({ bindings: [sink(t.numbers, { group: 'g' }, () => {})] })
    await t.table(
      `INSERT INTO {schema}.transport_tick SELECT p.id, g * 2 - 20000, 2, '3:3:', ARRAY[r.current, r.current], '{3,3}', '{1,2}'
       FROM {schema}.transport_ring r, {schema}.transport_partition p, generate_series(1, 1700) g`,
    )
    isFilled = true
    await until('all of them are gone', async () => {
      await binder.send(t.numbers, { n: 0 })
      const [row] = await t.table<{ n: number }>(
        'SELECT count(*)::int AS n FROM {schema}.transport_tick WHERE first < -1',
      )
      return Number(row?.n) === 0 && left.length > 0
    })
    expect(Math.max(...left)).toBeLessThan(200)
  })

  it('is freed soon after a short use, without a warning', async () => {
    const log = new LogLines()
    const tries: number[] = []
    const inUse: SqlClient['query'] = async (text, parameters) => {
      if (!text.includes('transport_truncate') || tries.push(performance.now()) > 3) return sql.query(text, parameters)
      throw Object.assign(new Error('canceling statement due to lock timeout'), { code: '55P03' })
    }
    const busy = new Proxy(sql, { get: (of, name) => (name === 'query' ? inUse : Reflect.get(of, name, of)) })
    const t = setup({ segmentMs: 8_000, sql: busy })
    const binder = await t.started({ bindings: [sink(t.numbers, { group: 'g' }, () => {})], logger: log.logger })
    await binder.send(t.numbers, { n: 0 })
    await until('it is freed', async () => tries.length > 3 && (await t.emptySegments()) === 3, 60_000)
    // Polling at the usual intervals would take 24 s.
    expect(Number(tries[3]) - Number(tries[0])).toBeLessThan(16_000)
    expect(log.lines.filter(({ message }) => /the log/.test(message) && !/in use/.test(message))).toEqual([])
    expect(binder.health().transport.detail).toBeUndefined()
  }, 90_000)

  it('is read by one probe for each message, also with a plan of when it was empty and had been analyzed', async () => {
    const t = setup({ segmentMs: 60_000 })
    const binder = await t.started()
    await t.table('ANALYZE {schema}.transport_log')
    const [part] = await t.table<{ id: number }>('SELECT min(id) AS id FROM {schema}.transport_partition')
    const peek = (): Promise<{ readonly messages: number; readonly tuples: number }> =>
      sql.transaction(async (tx) => {
        const tuples = async (): Promise<number> => {
          const { rows } = await tx.query<{ n: number }>(
            `SELECT sum(idx_tup_fetch)::int AS n FROM pg_stat_xact_user_tables WHERE schemaname = $1 AND relname LIKE 'transport_log_%'`,
            [t.schema],
          )
          return rows[0]?.n ?? 0
        }
        const before = await tuples()
        const text = `SELECT pos FROM "${t.schema}".transport_peek($1::int, 0, 100, 1000000, '3', 0)`
        const { rows } = await tx.query(text, [part?.id])
        return { messages: rows.length, tuples: (await tuples()) - before }
      })
    await peek()
    await binder.sendBatch(
      t.numbers,
      Array.from({ length: 1_000 }, (_, n) => ({ n })),
    )
    const read = await peek()
    expect(read.messages).toBe(100)
    // All of them once, to assign positions, and those that are read.
    expect(read.tuples).toBeLessThanOrEqual(1_100)
  })

  it('is never analyzed, since that would keep it from being freed', async () => {
    const t = setup()
    await t.started()
    const options = await t.table<{ is: boolean }>(
      `SELECT 'autovacuum_analyze_threshold=2147483647' = ANY (c.reloptions) AS is FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
       WHERE i.inhparent = '{schema}.transport_log'::regclass`,
    )
    expect(options).toEqual(Array.from({ length: 4 }, () => ({ is: true })))
  })

  it('keeps the messages of a channel with a longer retention for a later group, while positions of others go', async () => {
    const t = setup({ segmentMs: 200 })
    const kept = defineChannel('kept', { payload: Payload, partitions: 1, groups: ['g'], retentionMs: 60_000 })
    const got: number[] = []
    const bindings = [
      sink(t.numbers, { group: 'g' }, () => {}),
      sink(kept, { group: 'g' }, ({ n }) => void got.push(n)),
    ]
    const binder = await t.started({ sends: [t.numbers, kept], bindings })
    for (let n = 0; n < 10; n++) {
      await binder.send(kept, { n })
      await binder.send(t.numbers, { n })
    }
    await until('they are handled', () => got.length === 10)
    await until('the oldest positions of the other channel are gone', async () => {
      await binder.send(t.numbers, { n: 0 })
      const [row] = await t.table<{ oldest: number }>(
        `SELECT min(t.first)::int AS oldest FROM {schema}.transport_tick t JOIN {schema}.transport_partition p ON p.id = t.part
         WHERE p.destination = 'numbers' AND t.seqs <> '{}'`,
      )
      return Number(row?.oldest) > 0
    })
    const late: number[] = []
    await t.started({ sends: [kept], bindings: [sink(kept, { group: 'late' }, ({ n }) => void late.push(n))] })
    await until('the group that comes later has all', () => late.length === 10)
    expect(late).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8, 9])
  })

  it('carries a slow group’s unsettled messages over, in order, and a new group gets the rest', async () => {
    const t = setup()
    const first = await t.started({
      bindings: [sink(t.numbers, { group: 'g' }, () => {}), sink(t.numbers, { group: 'slow' }, () => {})],
    })
    first.binding('numbers.slow').pause()
    for (let n = 0; n < 30; n++) await first.send(t.numbers, { n })
    await until('the ring has turned twice', async () => {
      const [ring] = await t.table<{ current: number }>('SELECT current::int AS current FROM {schema}.transport_ring')
      await first.send(t.numbers, { n: 99 })
      return Number(ring?.current) >= 3
    })
    await first.close()
    const got: number[] = []
    await t.started({ bindings: [sink(t.numbers, { group: 'slow' }, ({ n }) => void (n < 99 && got.push(n)))] })
    await until('the slow group has all', () => got.length >= 30)
    for (const key of [0, 1, 2]) {
      const line = got.filter((n) => n % 3 === key)
      expect(line).toEqual(Array.from({ length: 10 }, (_, i) => 3 * i + key))
    }
  })

  it('stays when a group is too far behind: delivery continues, health and one warning name the group, forgetGroup frees it', async () => {
    const t = setup({ segmentMs: 200 })
    const log = new LogLines()
    const got: number[] = []
    const bindings = [sink(t.numbers, { group: 'g' }, ({ n }) => void got.push(n))]
    const binder = await t.started({ bindings, logger: log.logger })
    await t.transports[0]?.provision([{ name: 'numbers', partitions: 2, groups: ['nobody'] }])
    // More than is carried over, without sending them: the bound is the same.
    await sql.query(
      `INSERT INTO "${t.schema}".transport_log (segment, part, meta, body)
       SELECT r.current, 1, '["x","numbers","s","application/json",0]', '{"n":1}' FROM "${t.schema}".transport_ring r, generate_series(1, 50001)`,
    )
    await until(
      'it is said',
      async () => {
        await binder.send(t.numbers, { n: 1 })
        return got.length > 50_000 && binder.health().transport.detail !== undefined
      },
      60_000,
    )
    expect(binder.health()).toMatchObject({ status: 'up' })
    expect(binder.health().transport.detail).toMatch(
      /the log keeps \d+ bytes since .* for groups that are behind: .*"nobody" of "numbers" \(\d+\)/,
    )
    expect(log.lines.filter(({ message }) => /forgetGroup/.test(message))).toHaveLength(1)
    const before = got.length
    await binder.send(t.numbers, { n: 2 })
    await until('delivery goes on', () => got.length > before)
    expect(await t.transports[0]?.forgetGroup('numbers', 'nobody')).toBe(true)
    expect(await t.transports[0]?.forgetGroup('numbers', 'nobody')).toBe(false)
    await expect(t.transports[0]?.forgetGroup('numbers', 'g')).rejects.toMatchObject({ kind: 'refused' })
    await until('the room is free again', async () => {
      await new Promise((resolve) => setTimeout(resolve, 200))
      await binder.send(t.numbers, { n: 3 })
      return binder.health().transport.detail === undefined && (await t.rowsOf('transport_log')) < 1_000
    })
  }, 120_000)
})

describe('a transaction', () => {
  it('publishes its messages when it commits, and never when it does not', async () => {
    const t = setup()
    const got: number[] = []
    await t.started({ bindings: [sink(t.numbers, { group: 'g' }, ({ n }) => void got.push(n))] })
    const [transport] = t.transports
    expect(transport?.isOn?.(sql)).toBe(true)
    const failed = sql.transaction(async (tx) => {
      await transport?.publishIn?.(tx, [await encodeMessage(t.numbers, { n: 1 }, 'test')])
      throw new Error('no')
    })
    await expect(failed).rejects.toThrow('no')
    await sql.transaction(async (tx) => {
      const messages = []
      for (const n of [2, 5, 8]) messages.push(await encodeMessage(t.numbers, { n }, 'test'))
      await transport?.publishIn?.(tx, messages)
    })
    await until('the committed ones come', () => got.length >= 3)
    expect(got).toEqual([2, 5, 8])
  })

  it('on a database with one connection refuses a send inside, at once, with the remedy', async () => {
    const t = setup()
    const binder = await t.started()
    const sent = sql.transaction(() => binder.send(t.numbers, { n: 1 }))
    await expect(sent).rejects.toMatchObject({ retryable: false, message: /outbox\.add/ })
    await binder.send(t.numbers, { n: 2 })
    const later = gate()
    // Begun in a transaction, sent after its end: nothing waits for itself then.
    let after: Promise<unknown> | undefined
    await sql.transaction(async () => {
      after = later.opened.then(() => binder.send(t.numbers, { n: 3 }))
    })
    later.open()
    await after
  })
})

describe('a member', () => {
  it('that is replaced while it is frozen settles nothing more, and its message is redelivered', async () => {
    const t = setup()
    const stuck = gate()
    const handled: string[] = []
    const slow = sink(t.numbers, { group: 'g' }, async (_, { redelivered }) => {
      handled.push(`first ${redelivered}`)
      await stuck.opened
    })
    const first = await t.started({ bindings: [slow] })
    await first.send(t.numbers, { n: 0 })
    await until('the first has it', () => handled.length === 1)
    // Simulates a pause longer than the lease: the server counts the member as gone, and another one takes its
    // partitions.
    await t.table(`UPDATE {schema}.transport_session SET live_until = '-infinity'`)
    const group = `(SELECT id FROM {schema}.transport_group WHERE name = 'g')`
    const [taken] = await t.table<{ settled: string; handed: string }>(
      `SELECT settled::text AS settled, handed::text AS handed FROM {schema}.transport_claim(${group}, 'other', '{}', 2) ORDER BY handed DESC`,
    )
    expect(taken).toEqual({ settled: '0', handed: '1' })
    stuck.open()
    await first.close()
    await t.table(`DELETE FROM {schema}.transport_session`)
    await t.started({
      bindings: [sink(t.numbers, { group: 'g' }, (_, { redelivered }) => void handled.push(`second ${redelivered}`))],
    })
    await until('it came again', () => handled.length === 2)
    expect(handled).toEqual(['first false', 'second true'])
  })
})

it('every key, header and body of a list arrives unchanged, with any content', async () => {
  const schema = `log${++count}`
  const texts = defineChannel('texts', {
    payload: z.string(),
    codec: textCodec,
    tombstones: true,
    partitions: 1,
    groups: ['g'],
  })
  const got: unknown[] = []
  const binding = sink(
    texts,
    { group: 'g' },
    (payload, { key, headers }) => void got.push([payload, key, headers['h']]),
  )
  const binder = createBinder({ service: 'test', transport: postgresTransport({ sql, schema }), bindings: [binding] })
  onTestFinished(() => binder.close())
  await binder.start()
  const odd = ['', '-', ',', '\n', '\u0000', '"\\', 'NULL', '{}', '-,-\n-']
  const sent = odd.flatMap((text) => [
    [text, text, text],
    [null, text === '' ? 'k' : text, text],
    [text, null, text],
  ])
  await binder.sendBatch(
    texts,
    sent.map(([payload]) => payload as string),
    (_, n) => ({ key: sent[n]?.[1] ?? null, headers: { h: sent[n]?.[2] ?? null } }),
  )
  await until('all are there', () => got.length === sent.length)
  expect(got).toEqual(sent)
})

it('the log reads what other programs write into the log', async () => {
  const t = setup()
  const got: unknown[] = []
  const any = defineChannel('any', { payload: z.unknown(), groups: ['g'], partitions: 1 })
  await t.started({
    bindings: [
      sink(
        any,
        { group: 'g' },
        (payload, { id, key, headers, source }) => void got.push({ payload, id, key, headers, source }),
      ),
    ],
  })
  const part = `(SELECT id FROM {schema}.transport_partition WHERE destination = 'any')`
  await t.table(
    `INSERT INTO {schema}.transport_log (segment, part, key, meta, body) SELECT current, ${part}, 'k', '{"headers":{"a":[1]}}', '7' FROM {schema}.transport_ring`,
  )
  await until('it came', () => got.length === 1)
  expect(got).toEqual([
    { payload: 7, id: expect.stringMatching(/^any-\d+-0$/), key: 'k', headers: { a: '[1]' }, source: 'unknown' },
  ])
})
