import { type Clock, SECOND, type SqlClient, silentLogger, systemClock } from 'concordat/core'
import { postgresTransport } from 'concordat/postgres'
import { expect, it, onTestFinished } from 'vitest'
import { expectWithin } from '../../support/expect-within.ts'
import { until } from '../../support/until.ts'
import { numbered, Recorder, subscribe } from '../rabbitmq/kit.ts'
import { onPglite } from './support/on-pglite.ts'

const { sql } = onPglite()

/** Time limits of the transport end this much sooner. */
const FASTER = 25

const hurried: Clock = {
  ...systemClock,
  setTimer: (durationMs, callback, keepsAlive) => systemClock.setTimer(durationMs / FASTER, callback, keepsAlive),
}

/** A database that stops answering, as behind a network that loses everything. */
function silenceable() {
  let isSilent = false
  let unanswered = 0
  const silence = (): Promise<never> => {
    unanswered++
    return new Promise(() => {})
  }
  const client: SqlClient = {
    query: (text, parameters) => (isSilent ? silence() : sql.query(text, parameters)),
    transaction: (work, limits) => (isSilent ? silence() : sql.transaction(work, limits)),
  }
  const fallSilent = async (): Promise<void> => {
    isSilent = true
    await until('a statement without an answer', () => unanswered > 0)
  }
  return { client, fallSilent }
}

async function setup(schema: string) {
  const { client, fallSilent } = silenceable()
  const transport = postgresTransport({ sql: client, schema })
  transport.attach({ service: 'test', instance: 'test-1', logger: silentLogger, clock: hurried })
  onTestFinished(() => transport.close())
  await transport.provision([{ name: 'numbers', partitions: 4, groups: ['g'] }])
  const recorder = Recorder.keeping()
  const subscription = await subscribe(transport, 'numbers', recorder)
  await transport.publish(numbered('numbers', 4, ['k']))
  await until('all are delivered', () => recorder.got.length === 4)
  await fallSilent()
  return { transport, subscription, recorder }
}

it('closes a subscription within five seconds of a silent database, and withdraws its messages', async () => {
  const { subscription, recorder } = await setup('silent_subscription')
  const from = performance.now()
  await subscription.close()
  await expectWithin((performance.now() - from) * FASTER, 15 * SECOND)
  expect(recorder.got.map(({ signal }) => signal.aborted)).toEqual([true, true, true, true])
})

it('closes the transport within five seconds of a silent database', async () => {
  const { transport } = await setup('silent_transport')
  const from = performance.now()
  await transport.close()
  await expectWithin((performance.now() - from) * FASTER, 15 * SECOND)
})
