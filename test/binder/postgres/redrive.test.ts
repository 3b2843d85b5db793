import { defineChannel, redrive } from 'concordat/binder'
import { type SqlClient, silentLogger, systemClock } from 'concordat/core'
import { postgresTransport } from 'concordat/postgres'
import { expect, it } from 'vitest'
import { z } from 'zod'
import { lossyAnswers } from '../../support/lossy-answers.ts'
import { numbered } from '../rabbitmq/kit.ts'
import { onPglite } from './support/on-pglite.ts'

const { sql } = onPglite()

const LETTERS = 3
/** Statements and commits of a run. */
const MOMENTS = 60

const transportOn = (client: SqlClient) => postgresTransport({ sql: client, schema: 'redriven', pollMs: 20 })

/** Creates a channel with three dead letters. */
async function setup(name: string, to: 'channel' | 'group') {
  const channel = defineChannel(name, { payload: z.unknown(), partitions: 1, groups: ['g'] })
  const transport = transportOn(sql)
  transport.attach({ service: 'test', instance: name, logger: silentLogger, clock: systemClock })
  const letters = `${name}.g.dlq`
  await transport.provision([
    { name, partitions: 1, groups: ['g'] },
    { name: letters, partitions: 1, groups: ['redrive'], deadLetters: true },
  ])
  await transport.publish(numbered(letters, LETTERS, ['a']))
  await transport.close()
  const sent = async (): Promise<readonly string[]> => {
    const { rows } = await sql.query<{ id: string }>(
      `SELECT l.meta ->> 0 AS id FROM redriven.transport_log l JOIN redriven.transport_partition p ON p.id = l.part
       WHERE p.destination = $1 ORDER BY l.seq`,
      [to === 'group' ? `${name}.g.retry` : name],
    )
    return rows.map(({ id }) => id.replace(`${letters}-`, ''))
  }
  const run = (client: SqlClient, stallTimeoutMs = 60_000) =>
    redrive({ service: 'ops', transport: transportOn(client) }, channel, 'g', {
      to,
      perSecond: 100_000,
      stallTimeoutMs,
    })
  return { run, sent }
}

/** Client that fails from its nth statement or commit on, as after a kill. */
function dyingAt(nth: number) {
  let left = nth
  const live = (): void => {
    if (--left <= 0) throw Object.assign(new Error('killed (made by the test)'), { code: 'ECONNREFUSED' })
  }
  const client: SqlClient = {
    ...sql,
    query: async (text, parameters) => {
      live()
      return sql.query(text, parameters)
    },
    transaction: (work) =>
      sql.transaction(async (tx) => {
        live()
        const made = await work({
          ...tx,
          // The commit is a step of its own.
          last: undefined,
          query: async (text, parameters) => {
            live()
            return tx.query(text, parameters)
          },
        })
        live()
        return made
      }),
  }
  return { client, isDead: () => left <= 0 }
}

it.each([
  ['before', 'group'],
  ['before', 'channel'],
  ['after', 'group'],
  ['after', 'channel'],
] as const)(
  'a connection that breaks %s any statement or commit leaves each dead letter in one place, once (to the %s)',
  { timeout: 300_000 },
  async (when, to) => {
    for (let nth = 1, hasBroken = true; hasBroken; nth++) {
      expect(nth).toBeLessThan(MOMENTS)
      const { run, sent } = await setup(`lossy-${when}-${to}-${nth}`, to)
      const lossy = lossyAnswers(sql, when)
      lossy.breakNth(nth)
      const first = await run(lossy.sql).catch(() => undefined)
      const second = await run(sql)
      expect({ nth, sent: await sent() }).toEqual({ nth, sent: ['0', '1', '2'] })
      if (first !== undefined) expect({ nth, counted: first.sent + second.sent }).toEqual({ nth, counted: LETTERS })
      hasBroken = lossy.broke()
    }
  },
)

it.each(['group', 'channel'] as const)(
  'a kill at any statement leaves each dead letter in one place, once (to the %s)',
  { timeout: 300_000 },
  async (to) => {
    for (let nth = 1, isKilled = true; isKilled; nth++) {
      expect(nth).toBeLessThan(MOMENTS)
      const { run, sent } = await setup(`killed-${to}-${nth}`, to)
      const { client, isDead } = dyingAt(nth)
      // The redrive finds its client dead, and gives up.
      await run(client, 200).catch(() => undefined)
      isKilled = isDead()
      // A process that is started anew knows that no other can hold anything.
      await run({ ...sql, exclusive: 'anew' })
      expect({ nth, sent: await sent() }).toEqual({ nth, sent: ['0', '1', '2'] })
    }
  },
)
