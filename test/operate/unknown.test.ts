// oxlint-disable no-restricted-imports -- inside of the command line: `lag` with a broker of the test
/** Data that cannot be read is shown as unknown, never as good. */

import { createOperator, type Operator } from '@concordat/cli'
import { createConsole } from '@concordat/console'
import { createBinder, defineChannel, sink, TransportError } from 'concordat/binder'
import type { SqlClient } from 'concordat/core'
import type { Transport } from 'concordat/extension'
import { postgresTransport } from 'concordat/postgres'
import { describe, expect, onTestFinished, test } from 'vitest'
import { z } from 'zod'
import type { Invocation } from '../../packages/cli/commands/command.ts'
import { LAG_COMMANDS } from '../../packages/cli/commands/lag.ts'
import { until } from '../support/until.ts'
import { database, groupsOf, lagOf, place, withLog } from './support/log-groups.ts'

const note = { by: 'ann', reason: 'a test' }

interface Counts {
  readonly lag: number
  readonly letters: number
  /** Whether someone reads the dead letters, on a broker that does not count what readers hold. */
  readonly isRead?: boolean
}

/** A broker that knows the group `stock`, with a backlog, and no other. */
function broker(counts: Counts) {
  return () => {
    const lag = async ({ destination }: { readonly destination: string }): Promise<number> => {
      if (!destination.startsWith(place.channel))
        throw new TransportError({ transport: 'fake', kind: 'unroutable', message: `no queue of ${destination}` })
      return destination.endsWith('.dlq') ? counts.letters : counts.lag
    }
    const features = { tellsWholeLag: counts.isRead === undefined ? true : { missing: 'ready only' } }
    const hasReaders = async ({ group }: { readonly group: string }) => group === 'redrive' && counts.isRead === true
    const rest = { attach: () => {}, close: async () => {} }
    return { name: 'broker', features, lag, hasReaders, ...rest } as unknown as Transport
  }
}

describe('doctor', () => {
  test('says that lag and dead letters are unknown when no log is here and no group is known', async () => {
    const operator = createOperator({ sql: await database() })
    await operator.migrate({ ...note, parts: ['outbox', 'inbox'], partitions: 2 })
    expect(await groupsOf(operator)).toEqual({
      status: 'unknown',
      said: ['unknown no log is in this database and no group is known: lag and dead letters were not counted'],
      remedies: [expect.stringContaining('npx concordat doctor concordat.config.ts')],
    })
  })

  test('names a log that was restored from another cluster, whose groups look as if they had read all', async () => {
    const sql = await database()
    const operator = createOperator({ sql })
    await postgresTransport({ sql }).migrate()
    const log = async () => (await operator.doctor()).lines.filter(({ check }) => check === 'log')
    await sql.query(`INSERT INTO concordat.transport_partition (destination, n) VALUES ('orders', 0)`)
    await sql.query(`INSERT INTO concordat.transport_tick VALUES (1, 0, 12, '1:1:', '{}', '{}', '{}')`)
    expect(await log()).toEqual([])
    await sql.query(`UPDATE concordat.transport_tick SET snap = '900000000:900000000:'`)
    expect(await log()).toEqual([
      {
        check: 'log',
        status: 'fail',
        text: 'the log in schema "concordat" comes from another cluster (a dump was restored)',
        remedy: expect.stringContaining('repair()'),
      },
    ])
  })

  test('says that groups are unknown on a broker that was named, whatever tables there are', async () => {
    const operator = createOperator({ sql: await database(), transport: broker({ lag: 3, letters: 5 }) })
    expect((await groupsOf(operator)).said).toEqual([
      'unknown no log is in this database and no group is known: lag and dead letters were not counted',
    ])
  })

  test('counts the dead letters of groups on a broker, with the command that lists them', async () => {
    const sql = await database()
    const operator = createOperator({ sql, transport: broker({ lag: 3, letters: 5 }) })
    await operator.migrate({ ...note, parts: ['outbox'], partitions: 2 })
    expect(await groupsOf(operator, [place])).toEqual({
      status: 'warn',
      said: ['warn 5 dead letters of orders.placed.stock'],
      remedies: ['npx concordat dlq list orders.placed stock'],
    })
  })

  test('says that dead letters are unknown while a reader may hold some that the broker does not count', async () => {
    for (const letters of [0, 5]) {
      const operator = createOperator({ sql: await database(), transport: broker({ lag: 0, letters, isRead: true }) })
      await operator.migrate({ ...note, parts: ['outbox'], partitions: 2 })
      expect(await groupsOf(operator, [place])).toMatchObject({
        status: 'unknown',
        said: [expect.stringMatching(/^unknown orders\.placed\.stock: its dead letters are being read/u)],
      })
    }
  })

  test('counts the dead letters without a reader on a broker that does not count held ones', async () => {
    const operator = createOperator({ sql: await database(), transport: broker({ lag: 0, letters: 5, isRead: false }) })
    await operator.migrate({ ...note, parts: ['outbox'], partitions: 2 })
    expect(await groupsOf(operator, [place])).toMatchObject({
      status: 'warn',
      said: ['warn 5 dead letters of orders.placed.stock'],
    })
  })

  test('advises no command that runs what a name in the log says', async () => {
    const sql = await database()
    await postgresTransport({ sql }).migrate()
    const channels = ['orders', 'orders.$(id).dlq']
    for (const [n, name] of channels.entries()) {
      await sql.query('INSERT INTO concordat.transport_partition (destination, n) VALUES ($1, 0)', [name])
      await sql.query(`INSERT INTO concordat.transport_tick VALUES ($1, 0, 12, '1:1:', '{}', '{}', '{}')`, [n + 1])
    }
    await sql.query(
      `INSERT INTO concordat.transport_group (destination, name) VALUES ($1, '$(id)'), ($2, 'redrive')`,
      channels,
    )
    await sql.query(
      `INSERT INTO concordat.transport_progress SELECT id, id, 1, 1, NULL, CASE id WHEN 1 THEN 12 ELSE 5 END, 12, '{}'
       FROM concordat.transport_group`,
    )
    expect(await groupsOf(createOperator({ sql }))).toMatchObject({
      said: expect.arrayContaining(['warn 7 dead letters of orders.$(id)']),
      remedies: expect.arrayContaining(["npx concordat dlq list orders '$(id)'"]),
    })
  })

  test('says that a group on a broker is far behind', async () => {
    const operator = createOperator({ sql: await database(), transport: broker({ lag: 10_001, letters: 0 }) })
    await operator.migrate({ ...note, parts: ['outbox'], partitions: 2 })
    expect((await groupsOf(operator, [place])).said).toEqual(['warn orders.placed.stock is 10001 behind'])
  })

  test('counts a group on the broker that was named, though a log in the database has one of its name', async () => {
    const operator = createOperator({ sql: await withLog(), transport: broker({ lag: 10_001, letters: 5 }) })
    expect((await groupsOf(operator, [place])).said).toEqual([
      'ok 1 group, none is behind',
      'warn 5 dead letters of orders.placed.stock',
      'warn orders.placed.stock is 10001 behind',
    ])
  })

  test('leaves a group to the log in the database where the broker that was named does not have it', async () => {
    const operator = createOperator({ sql: await withLog('paid'), transport: broker({ lag: 0, letters: 0 }) })
    expect((await groupsOf(operator, [{ ...place, channel: 'paid' }])).said).toEqual(['ok 1 group, none is behind'])
  })

  test('finds groups on a broker well only after it has counted them', async () => {
    const operator = createOperator({ sql: await database(), transport: broker({ lag: 0, letters: 0 }) })
    await operator.migrate({ ...note, parts: ['outbox'], partitions: 2 })
    expect(await groupsOf(operator, [place])).toMatchObject({
      status: 'ok',
      said: [
        'ok 1 known group, none has dead letters or is far behind: orders.placed.stock. Other groups of the broker were not counted',
      ],
    })
    expect(await groupsOf(operator, [{ ...place, channel: 'other' }])).toMatchObject({
      status: 'unknown',
      said: ['unknown other.stock was not counted: no queue of other'],
    })
  })

  test('says that the log may be in another database, with a command that counts there', async () => {
    const operator = createOperator({ sql: await database() })
    await operator.migrate({ ...note, parts: ['outbox'], partitions: 2 })
    expect(await groupsOf(operator, [place, { ...place, channel: 'other' }])).toEqual({
      status: 'unknown',
      said: ['unknown no log is in this database: lag and dead letters of 2 groups were not counted'],
      remedies: [
        'where the log of postgresTransport is in another database: npx concordat lag --postgres URL, with its address; else give --kafka HOST:PORT or --rabbitmq URL',
      ],
    })
  })
})

describe('doctor in a schema with sagas', () => {
  async function withSaga(transport: (() => Transport) | undefined, given?: SqlClient) {
    const sql = given ?? (await database())
    const operator = createOperator({ sql, transport })
    await operator.migrate({ ...note, parts: ['outbox', 'saga'], service: 'twin', partitions: 1 })
    await sql.query(`INSERT INTO concordat.saga (name, id, version, graph_hash, birth, status, state, input, input_hash)
      VALUES ('buy', 'o-1', 1, 'h', 'b', 'running', '{"steps": []}', '{}', 'h')`)
    return operator
  }

  test('counts the dead letters of their replies on a broker, beside declared groups of another service', async () => {
    const replies = (letters: number) => () => {
      const lag = async ({ destination }: { readonly destination: string }): Promise<number> =>
        destination === 'twin.saga-replies.coordinator.dlq' ? letters : 0
      return Object.assign(broker({ lag: 0, letters: 0 })(), { lag })
    }
    expect(await groupsOf(await withSaga(replies(23)), [place])).toMatchObject({
      said: ['warn 23 dead letters of twin.saga-replies.coordinator'],
      remedies: ['npx concordat dlq list twin.saga-replies coordinator'],
    })
    expect((await groupsOf(await withSaga(replies(0)), [place])).said).toEqual([
      expect.stringMatching(/^ok 2 known groups, .*: orders\.placed\.stock, twin\.saga-replies\.coordinator\. /u),
    ])
  })

  test('shows their replies as unknown while the broker does not answer', async () => {
    const away = () => {
      const lag = async (): Promise<number> => {
        throw new TransportError({ transport: 'fake', kind: 'unavailable', message: 'the broker is away' })
      }
      return Object.assign(broker({ lag: 0, letters: 0 })(), { lag })
    }
    expect(await groupsOf(await withSaga(away), [])).toMatchObject({
      status: 'unknown',
      said: ['unknown twin.saga-replies.coordinator was not counted: the broker is away'],
    })
  })

  test('leaves out their replies where the broker has no such group: their steps are local', async () => {
    const operator = await withSaga(broker({ lag: 0, letters: 0 }))
    expect((await groupsOf(operator, [place])).said).toEqual([expect.stringMatching(/^ok 1 known group, /u)])
  })

  test('leaves out their replies in a log that has no such group', async () => {
    const sql = await database()
    await postgresTransport({ sql }).migrate()
    expect((await groupsOf(await withSaga(undefined, sql))).said).toEqual(['ok 0 groups, none is behind'])
  })
})

test('the log is found in another schema than that of the service', async () => {
  const sql = await database()
  const orders = defineChannel('orders.placed', { payload: z.object({}), partitions: 1, groups: ['stock'] })
  const binder = createBinder({
    service: 'shop',
    transport: postgresTransport({ sql, schema: 'messages' }),
    sends: [orders],
  })
  await binder.start()
  await binder.close()
  const operator = createOperator({ sql, schema: 'booking' })
  expect(await operator.groups()).toEqual([
    { channel: 'orders.placed', group: 'stock', lag: 0, isCut: false, readers: 0 },
  ])
  expect(await operator.letters.lag(place)).toBe(0)
})

test('lag shows dead letters as unknown while a reader may hold some that the broker does not count', async () => {
  const operator = createOperator({ sql: await database(), transport: broker({ lag: 3, letters: 0, isRead: true }) })
  const asked = { positionals: ['orders.placed', 'stock'], values: {}, env: {}, operator: async () => operator }
  expect(await LAG_COMMANDS[0]?.run(asked as unknown as Invocation)).toMatchObject({
    code: 1,
    text: expect.stringMatching(/orders\.placed +stock +3 +unknown/u),
    json: { groups: [{ lag: 3, letters: null, problem: expect.stringContaining('RabbitMQ does not count') }] },
  })
})

test('lag of one group in the log has its readers, as lag of all groups has them', async () => {
  const sql = await database()
  const orders = defineChannel('orders.placed', { payload: z.object({}), partitions: 1, groups: ['stock'] })
  const binder = createBinder({
    service: 'shop',
    transport: postgresTransport({ sql, pollMs: 20 }),
    bindings: [sink(orders, { group: 'stock' }, () => {})],
  })
  onTestFinished(() => binder.close())
  await binder.start()
  await binder.ready()
  const operator = createOperator({ sql })
  const line = { channel: 'orders.placed', group: 'stock', lag: 0, letters: 0, readers: 1 }
  expect(await lagOf(operator)).toMatchObject({ code: 0, json: { groups: [line] } })
  expect(await lagOf(operator, 'orders.placed', 'stock')).toMatchObject({ code: 0, json: { groups: [line] } })
})

test('lag shows dead letters as unknown where they cannot be counted for a group that has committed nothing', async () => {
  const transport = () => {
    const lag: Transport['lag'] = async ({ destination }) => {
      if (destination.endsWith('.dlq')) throw new Error('no answer (made by the test)')
      return 7
    }
    const withoutPosition = async () => 'orders.placed.stock'
    return { ...broker({ lag: 7, letters: 0 })(), lag, withoutPosition } as unknown as Transport
  }
  const operator = createOperator({ sql: await database(), transport })
  expect(await lagOf(operator, 'orders.placed', 'stock')).toMatchObject({
    code: 1,
    json: { groups: [{ lag: null, letters: null, problem: expect.stringContaining('has committed nothing') }] },
  })
})

test('a process whose lease is over reads no group', async () => {
  const sql = await withLog()
  await sql.query(
    `INSERT INTO concordat.transport_session (owner, live_until, groups)
     SELECT 'killed', clock_timestamp() - interval '1 second', array_agg(id) FROM concordat.transport_group`,
  )
  expect(await createOperator({ sql }).groups()).toMatchObject([{ group: 'stock', readers: 0 }])
})

test('lag counts a group on the broker that was named beside the one of its name in the log', async () => {
  const operator = createOperator({ sql: await withLog(), transport: broker({ lag: 3, letters: 5 }) })
  const instances = { instances: [], bindings: [{ ...place, running: 0, queued: 0 }], leftOut: 0 }
  const bus = {
    watch: async () => ({ view: () => instances, trouble: () => undefined, [Symbol.asyncDispose]: async () => {} }),
  }
  const asked = { positionals: [], values: { kafka: 'mq:9092' }, env: {}, operator: async () => ({ ...operator, bus }) }
  expect(await LAG_COMMANDS[0]?.run(asked as unknown as Invocation)).toMatchObject({
    code: 0,
    json: {
      groups: [
        { channel: 'orders.placed', group: 'stock', lag: 0, letters: 0, readers: 0 },
        { channel: 'orders.placed', group: 'stock', lag: 3, letters: 5, readers: null },
      ],
    },
  })
})

test('lag has null for readers that a broker does not count, which leaves the exit code at 0', async () => {
  const operator = createOperator({ sql: await database(), transport: broker({ lag: 3, letters: 0 }) })
  expect(await lagOf(operator, 'orders.placed', 'stock')).toMatchObject({
    code: 0,
    text: expect.stringMatching(/orders\.placed +stock +3 +0 +unknown/u),
    json: { groups: [{ lag: 3, letters: 0, readers: null }] },
  })
})

describe('the console', () => {
  /** Events that a page receives from the live picture, until one is about letters. */
  async function lettersOf(operator: Operator, places: readonly (typeof place)[]): Promise<object> {
    const page = createConsole({ operator, places })
    onTestFinished(() => page.close())
    const response = await page(new Request('http://localhost/api/events'))
    let text = ''
    const read = async (): Promise<void> => {
      for await (const chunk of response.body ?? []) text += Buffer.from(chunk).toString()
    }
    read().catch(() => {})
    const found = () => /"letters":(?<part>\{.*?(?:\}|\])\})/.exec(text)?.groups?.['part']
    await until('the page hears of letters', () => found() !== undefined)
    return JSON.parse(found() ?? '{}') as object
  }

  test('says that no group is known instead of no dead letters', async () => {
    const operator = createOperator({ sql: await database() })
    expect(await lettersOf(operator, [])).toMatchObject({ problem: { code: 'console.groups_unknown' } })
  })

  test('has no count for a group whose dead letters are being read', async () => {
    const operator = createOperator({ sql: await database(), transport: broker({ lag: 0, letters: 5, isRead: true }) })
    expect(await lettersOf(operator, [place])).toMatchObject({
      data: [{ channel: 'orders.placed', group: 'stock', count: null }],
    })
  })

  test('has no count for a group that could not be asked', async () => {
    const operator = createOperator({ sql: await database(), transport: broker({ lag: 0, letters: 5 }) })
    expect(await lettersOf(operator, [place, { ...place, channel: 'other' }])).toMatchObject({
      data: [
        { channel: 'orders.placed', group: 'stock', count: 5 },
        { channel: 'other', group: 'stock', count: null },
      ],
    })
  })
})
