/**
 * The answer to one statement, commit or publish of a whole run is lost, for each of them in turn: before it was done and
 * after. Then the tables and the effects agree with a run in which nothing was lost.
 */

import { createBinder, defineChannel, sink, TransportError } from 'concordat/binder'
import { pgliteClient } from 'concordat/core/pglite'
import type { Transport } from 'concordat/extension'
import { memoryTransport } from 'concordat/memory'
import { createInbox, createOutbox, createRelay } from 'concordat/outbox'
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest'
import { z } from 'zod'
import { NO_PAUSE } from '../binder/support/run.ts'
import { uniqueName } from '../outbox/support/messages.ts'
import { lossyAnswers } from '../support/lossy-answers.ts'
import { freshPglite } from '../support/pglite.ts'
import { StillClock } from '../support/sharing.ts'
import { until } from '../support/until.ts'

vi.setConfig({ testTimeout: 120_000 })
const database = freshPglite()
const sql = pgliteClient(database)
beforeAll(async () => {
  await database.waitReady
  await database.exec('CREATE TABLE effect (run text, key text, n int)')
}, 180_000)
afterAll(() => database.close())

const orders = defineChannel('orders', { payload: z.object({ k: z.string(), n: z.number() }), key: ({ k }) => k })
const MESSAGES = ['a', 'b', 'a', 'c', 'a', 'b'].map((k, n) => ({ k, n }))

/** A broker whose nth publish has no answer, and breaks before or after it took the messages. */
function lossyPublishes(inner: Transport, when: 'before' | 'after') {
  let left = Number.POSITIVE_INFINITY
  let hasBroken = false
  const publish = inner.publish.bind(inner)
  inner.publish = async (messages) => {
    const isHit = --left === 0
    if (isHit) hasBroken = true
    const outcomes = isHit && when === 'before' ? [] : await publish(messages)
    if (!isHit) return outcomes
    const lost = { transport: 'memory', kind: 'unavailable', message: 'the connection was lost' } as const
    return messages.map(({ destination }) => new TransportError({ ...lost, destination }))
  }
  return { transport: inner, breakNth: (nth: number) => void (left = nth), broke: () => hasBroken }
}

/**
 * Sends six messages through outbox, relay, broker, inbox and the handler's table. The nth answer is lost.
 * @returns the stored rows at the end, and whether that answer was reached
 */
async function run(
  place: 'database of the relay' | 'database of the inbox' | 'database of shared transactions' | 'broker',
  when: 'before' | 'after',
  nth: number,
) {
  const schema = uniqueName('unknown')
  const lossy = lossyAnswers(sql, when)
  const broker = lossyPublishes(memoryTransport(), when)
  const on = (name: typeof place) => (place === name ? lossy.sql : sql)
  const outbox = createOutbox({ sql: on('database of the relay'), service: 's', schema, partitions: 2 })
  const isShared = place === 'database of shared transactions'
  // With a clock that does not move, every handler is fast enough to share.
  const clock = isShared ? new StillClock() : undefined
  const inbox = createInbox({ sql: isShared ? lossy.sql : on('database of the inbox'), schema, clock })
  await createOutbox({ sql, service: 's', schema, partitions: 2 }).migrate()
  await inbox.migrate()
  const order: string[] = []
  const stock = sink(
    orders,
    { group: 'stock', inbox, maxAttempts: 20, backoff: NO_PAUSE, concurrency: isShared ? 4 : 1 },
    async ({ k, n }, { tx }) => {
      await tx.query('INSERT INTO effect VALUES ($1, $2, $3)', [schema, k, n])
      tx.afterCommit?.(() => void order.push(`${k}${n}`))
    },
  )
  const binder = createBinder({ service: 's', transport: broker.transport, bindings: [stock], sends: [orders] })
  await binder.start()
  const relay = createRelay({
    outbox,
    publisher: binder,
    leaseMs: 1_000,
    idlePollMs: 5,
    backoff: { initialMs: 5, maxMs: 20 },
  })
  await sql.transaction(async (tx) => {
    for (const message of MESSAGES) await outbox.add(tx, orders, message)
  })
  lossy.breakNth(nth)
  broker.breakNth(nth)
  await relay.start().catch(() => relay.start())
  const left = async () =>
    Number((await sql.query<{ n: string }>(`SELECT count(*) AS n FROM "${schema}".outbox`)).rows[0]?.n)
  const effects = async () =>
    (await sql.query<{ key: string; n: number }>('SELECT key, n FROM effect WHERE run = $1 ORDER BY n', [schema])).rows
  await until(
    `all is handled (${place}, ${when}, ${nth})`,
    async () => (await effects()).length >= MESSAGES.length && (await left()) === 0,
  )
  await relay.close()
  await binder.close()
  const { rows: seen } = await sql.query<{ n: number }>(`SELECT count(*)::int AS n FROM "${schema}".inbox`)
  const [status] = binder.bindings()
  return {
    broke: place === 'broker' ? broker.broke() : lossy.broke(),
    end: { effects: await effects(), left: await left(), seen: seen[0]?.n, dead: status?.deadLettered },
    orderOf: (key: string) => order.filter((each) => each.startsWith(key)),
  }
}

describe.for(['database of the relay', 'database of the inbox', 'database of shared transactions', 'broker'] as const)(
  'an answer of the %s is lost',
  (place) => {
    test.for(['before', 'after'] as const)(
      'at any call, %s its execution: each effect happens once, nothing is left or dead-lettered, the order of a key is kept',
      async (when) => {
        let runs = 0
        for (let nth = 1, hit = true; hit; nth++) {
          const { broke, end, orderOf } = await run(place, when, nth)
          expect(end, `answer ${nth}`).toEqual({
            effects: MESSAGES.map(({ k, n }) => ({ key: k, n })),
            left: 0,
            seen: MESSAGES.length,
            dead: 0,
          })
          for (const key of ['a', 'b'])
            expect(orderOf(key), `answer ${nth}`).toEqual(orderOf(key).toSorted((x, y) => x.localeCompare(y)))
          hit = broke
          runs++
          if (runs > 60) break
        }
        expect(runs).toBeGreaterThan(place === 'broker' ? 1 : 4)
      },
    )
  },
)
