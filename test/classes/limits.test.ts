/**
 * Numbers and sizes at each limit and one beyond: an accepted value works, and a value that cannot work is refused at
 * the call that gives it, by a typed error that names it. An accepted option that makes a later statement fail would
 * show at night.
 */

import { createBinder, defineChannel, sink } from 'concordat/binder'
import { hasCode } from 'concordat/core'
import { pgliteClient } from 'concordat/core/pglite'
import { createFence } from 'concordat/locks'
import { memoryTransport } from 'concordat/memory'
import { createInbox, createOutbox, createRelay } from 'concordat/outbox'
import { defineSaga, migrateParticipant, purgeParticipant } from 'concordat/saga'
import { createService } from 'concordat/service'
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest'
import { z } from 'zod'
import { uniqueName } from '../outbox/support/messages.ts'
import { MAX_DELAY_MS } from '../support/inside/binder.ts'
import { freshPglite } from '../support/pglite.ts'
import { until } from '../support/until.ts'

const database = freshPglite()
const sql = pgliteClient(database)
beforeAll(() => database.waitReady, 180_000)
afterAll(() => database.close())

const HUGE = Number.MAX_SAFE_INTEGER
const Payload = z.object({ n: z.number() })

/** Uses the part made with the value once, as its owner would. */
type Use = (value: never) => Promise<unknown>

async function binderOn(options: object = {}) {
  const orders = defineChannel('orders', { payload: z.any() })
  const handled: unknown[] = []
  const binder = createBinder({
    service: 's',
    transport: memoryTransport(),
    bindings: [sink(orders, { group: 'g' }, (payload) => void handled.push(payload))],
    sends: [orders],
    ...options,
  })
  onTestFinished(() => binder.close())
  await binder.start()
  const send = async (payload: unknown, sending: object = {}) => {
    await binder.send(orders, payload, sending)
    await until('it is handled', () => handled.length > 0, 5_000)
  }
  return { binder, orders, send, handled }
}

async function serviceOn(saga: unknown, parts: object = {}) {
  const service = createService({
    name: 's',
    schema: uniqueName('limits'),
    sql,
    transport: memoryTransport(),
    sagas: [saga as never],
    parts,
  })
  onTestFinished(() => service.close())
  await service.start()
  return service
}

async function runSaga(options: object, parts: object = {}): Promise<void> {
  const saga = defineSaga('s', { version: 1, input: Payload, ...options }).step('a', {
    invoke: () => {},
    compensate: 'none',
  })
  const service = await serviceOn(saga, parts)
  const run = await service.run(saga, { id: 'a', input: { n: 1 } })
  expect((await run.outcome({ timeoutMs: 10_000 })).status).toBe('completed')
}

async function startSaga(id: string): Promise<void> {
  const saga = defineSaga('s', { version: 1, input: Payload }).step('a', { invoke: () => {}, compensate: 'none' })
  const service = await serviceOn(saga)
  const run = await service.run(saga, { id, input: { n: 1 } })
  expect((await run.outcome({ timeoutMs: 10_000 })).status).toBe('completed')
}

async function relayWith(options: object): Promise<void> {
  const schema = uniqueName('limits')
  const outbox = createOutbox({ sql, service: 's', schema })
  await outbox.migrate()
  const { binder, orders, handled } = await binderOn()
  const relay = createRelay({ outbox, publisher: binder, ...options })
  onTestFinished(() => relay.close())
  await relay.start()
  await sql.transaction((tx) => outbox.add(tx, orders, { n: 1 }))
  await until('it is handled', () => handled.length > 0, 5_000)
}

/** `at` works; `beyond` is refused. Both may be several. */
const CASES: ReadonlyArray<{
  readonly what: string
  readonly at: readonly unknown[]
  readonly beyond: readonly unknown[]
  readonly use: Use
}> = [
  {
    what: 'key of a message',
    at: ['k'.repeat(1_024), ''],
    beyond: ['k'.repeat(1_025), '\ud800'],
    use: async (key: string) => (await binderOn()).send({ n: 1 }, { key }),
  },
  {
    what: 'id of a message',
    at: ['i'.repeat(255), 'i'],
    beyond: ['i'.repeat(256), '', '\udfff'],
    use: async (id: string) => (await binderOn()).send({ n: 1 }, { id }),
  },
  {
    what: 'time of a message',
    at: [253_402_300_799_999, -62_167_219_200_000, 0],
    beyond: [253_402_300_800_000, -62_167_219_200_001, Number.NaN, Number.POSITIVE_INFINITY],
    use: async (time: number) => (await binderOn()).send({ n: 1 }, { time }),
  },
  {
    what: 'delay of a message',
    at: [0, 1],
    beyond: [-1, MAX_DELAY_MS + 1, 0.5, HUGE],
    use: async (delayMs: number) => (await binderOn()).send({ n: 1 }, { delayMs }),
  },
  {
    what: 'number of headers',
    at: [64, 0],
    beyond: [65],
    use: async (count: number) =>
      (await binderOn()).send(
        { n: 1 },
        { headers: Object.fromEntries(Array.from({ length: count }, (_, n) => [`h${n}`, n])) },
      ),
  },
  {
    what: 'size of the headers',
    at: [16 * 1_024 - 100],
    beyond: [16 * 1_024 + 1],
    use: async (bytes: number) => (await binderOn()).send({ n: 1 }, { headers: { h: 'x'.repeat(bytes) } }),
  },
  {
    what: 'name of a channel',
    at: ['c'.repeat(200)],
    beyond: ['c'.repeat(201), '', 'a b'],
    use: async (name: string) => defineChannel(name, { payload: Payload }),
  },
  {
    what: 'sendTimeoutMs',
    at: [HUGE, 2 ** 31, 1_000],
    beyond: [0, Number.POSITIVE_INFINITY],
    use: async (sendTimeoutMs: number) => (await binderOn({ sendTimeoutMs })).send({ n: 1 }),
  },
  {
    what: 'drainTimeoutMs',
    at: [HUGE, 2 ** 31, 0],
    beyond: [-1, Number.NaN],
    use: async (drainTimeoutMs: number) => {
      const { binder, send } = await binderOn({ drainTimeoutMs })
      await send({ n: 1 })
      await binder.close()
    },
  },
  {
    what: 'maxInFlight',
    at: [1, HUGE],
    beyond: [0, 1.5],
    use: async (maxInFlight: number) => (await binderOn({ maxInFlight })).send({ n: 1 }),
  },
  {
    what: 'leaseMs of a relay',
    at: [1_000, 86_400_000],
    beyond: [999, 86_400_001, HUGE],
    use: async (leaseMs: number) => relayWith({ leaseMs }),
  },
  {
    what: 'idlePollMs of a relay',
    at: [1, 2 ** 31, HUGE],
    beyond: [0],
    use: async (idlePollMs: number) => relayWith({ idlePollMs }),
  },
  {
    what: 'batchSize of a relay',
    at: [1, 10_000],
    beyond: [0, 10_001],
    use: async (batchSize: number) => relayWith({ batchSize }),
  },
  {
    what: 'batchBytes of a relay',
    at: [1, HUGE],
    beyond: [0],
    use: async (batchBytes: number) => relayWith({ batchBytes }),
  },
  {
    what: 'maxAttempts of a relay',
    at: [1, HUGE],
    beyond: [0],
    use: async (maxAttempts: number) => relayWith({ maxAttempts }),
  },
  {
    what: 'partitions of an outbox',
    at: [1, 64],
    beyond: [0, 1_001],
    use: async (partitions: number) =>
      createOutbox({ sql, service: 's', schema: uniqueName('p'), partitions }).migrate(),
  },
  {
    what: 'retentionMs of an inbox',
    at: [60_000, 1_000 * 365 * 86_400_000],
    beyond: [59_999, HUGE],
    use: async (retentionMs: number) => {
      const inbox = createInbox({ sql, schema: uniqueName('limits'), retentionMs })
      await inbox.migrate()
      await inbox.process({ group: 'g', destination: 'd', source: 's', id: 'i' }, async () => {})
      await inbox.sweep()
    },
  },
  {
    what: 'retentionMs of a coordinator',
    at: [1, 1_000 * 365 * 86_400_000],
    beyond: [0, HUGE],
    use: async (retentionMs: number) => {
      const saga = defineSaga('s', { version: 1, input: Payload }).step('a', { invoke: () => {}, compensate: 'none' })
      const service = await serviceOn(saga, { coordinator: { retentionMs } })
      const run = await service.run(saga, { id: 'a', input: { n: 1 } })
      // With a retention of 1 ms the relay may delete the saga before the test reads its outcome.
      await run.outcome({ timeoutMs: 5_000 }).catch((error: unknown) => {
        if (!hasCode(error, 'saga.not_found')) throw error
      })
      await service.coordinator?.purge({ olderThanMs: retentionMs })
    },
  },
  {
    what: 'olderThanMs of purgeParticipant',
    at: [86_400_000, 1_000 * 365 * 86_400_000],
    beyond: [86_399_999, HUGE],
    use: async (olderThanMs: number) => {
      const schema = uniqueName('limits')
      await migrateParticipant(sql, schema)
      await sql.query(
        `INSERT INTO ${schema}.saga_barrier (saga_key, birth, operation, status) VALUES ('k', '', 'invoke', 'ok')`,
      )
      await purgeParticipant(sql, { schema, olderThanMs })
    },
  },
  {
    what: 'deadlineMs of a saga',
    at: [60_000, HUGE],
    beyond: [0],
    use: async (deadlineMs: number) => runSaga({ deadlineMs }),
  },
  {
    what: 'id of a saga',
    at: ['i'.repeat(200), 'i'],
    beyond: ['i'.repeat(201), '', 'a\u0000b', '\ud800'],
    use: startSaga,
  },
  {
    what: 'leaseMs of a coordinator',
    at: [1_000, 2 ** 31 - 1],
    beyond: [0, 2 ** 31, HUGE],
    use: async (leaseMs: number) => runSaga({}, { coordinator: { leaseMs } }),
  },
  {
    what: 'concurrency of a coordinator',
    at: [1, 1_000],
    beyond: [0],
    use: async (concurrency: number) => runSaga({}, { coordinator: { concurrency } }),
  },
  {
    what: 'transactions of a coordinator',
    at: [1],
    beyond: [0],
    use: async (transactions: number) => runSaga({}, { coordinator: { transactions } }),
  },
  {
    what: 'token of a fence',
    at: [0, 1, 2 ** 53 - 1],
    beyond: [-1, 2 ** 53, 0.5],
    use: async (token: number) => {
      const fence = createFence({ sql, schema: uniqueName('limits') })
      await fence.migrate()
      await sql.transaction((tx) => fence.check(tx, 'r', token))
    },
  },
]

describe.for(CASES)('$what', ({ at, beyond, use }) => {
  const shown = (value: unknown): string =>
    typeof value === 'string' ? `${value.length} characters ${JSON.stringify(value.slice(0, 3))}` : String(value)

  test.for(at.map((value) => ({ value, name: shown(value) })))('works at $name', async ({ value }) => {
    await use(value as never)
  })

  test.for(beyond.map((value) => ({ value, name: shown(value) })))('is refused at $name', async ({ value }) => {
    const refused = await use(value as never).then(
      () => undefined,
      (error: unknown) => error as Error & { code?: unknown; cause?: Error },
    )
    expect(refused, 'nothing was refused').toBeInstanceOf(Error)
    // The error is one of ours or an options error, and no driver's.
    expect(refused).toSatisfy(
      (error: Error) =>
        error instanceof TypeError ||
        error instanceof RangeError ||
        /^[a-z]+\.[a-z_]+$/.test(String((error as { code?: unknown }).code)),
    )
    expect(refused?.message).toMatch(/expected|at most|too|does not fit|cannot|refused|between/)
  })
})
