import type { SqlClient } from 'concordat/core'
import { silentLogger, systemClock } from 'concordat/core'
import type { Subscription } from 'concordat/extension'
import { postgresTransport } from 'concordat/postgres'
import { expect, it, onTestFinished } from 'vitest'
import { gate, until } from '../../support/until.ts'
import { numbered, Recorder } from '../rabbitmq/kit.ts'
import { onPglite } from './support/on-pglite.ts'

const { sql } = onPglite()

const spec = { partitions: 1, group: 'g', prefetch: 10, prefetchBytes: 1_000_000 }

/** Two subscriptions are balanced together: the first has taken its partition when the second is refused its own. */
async function setup() {
  const together = gate()
  let joining = 0
  let claims = 0
  const first = Recorder.keeping()
  const client: SqlClient = {
    ...sql,
    exclusive: undefined,
    query: async (text, parameters) => {
      if (/^DELETE FROM \S+transport_session/.test(text)) {
        if (++joining === 2) together.open()
        await together.opened
      }
      if (text.includes('transport_claim') && ++claims === 2) {
        await until('the first has something', () => first.got.length > 0)
        throw Object.assign(new Error('cut (made by the test)'), { code: 'ECONNRESET' })
      }
      return sql.query(text, parameters)
    },
  }
  const transport = postgresTransport({ sql: client, schema: 'half_way' })
  transport.attach({ service: 'test', instance: 'test-1', logger: silentLogger, clock: systemClock })
  onTestFinished(() => transport.close())
  const subscribe = (destination: string, recorder: Recorder): Promise<Subscription> =>
    transport.subscribe({ ...spec, destination }, recorder)
  await transport.provision(['one', 'two'].map((name) => ({ name, partitions: 1, groups: ['g'] })))
  const joins = (count: number): Promise<void> => until(`${count} join`, () => joining === count)
  return { transport, subscribe, joins, first }
}

it('a subscription that fails half-way withdraws its deliveries, which only its successor gets', async () => {
  const { transport, subscribe, joins, first } = await setup()
  await transport.publish(numbered('one', 3, ['k']))
  const failing = subscribe('one', first)
  await joins(1)
  const other = subscribe('two', Recorder.keeping())
  await expect(failing).rejects.toMatchObject({ code: 'binder.transport', kind: 'unavailable' })
  await other
  expect(first.got.map(({ signal }) => signal.aborted)).toEqual([true, true, true])

  const second = Recorder.keeping()
  await subscribe('one', second)
  await transport.publish(numbered('one', 2, ['k']))
  await until('the second has all', () => second.got.length === 5)
  expect(second.numbers).toEqual([0, 1, 2, 0, 1])
  expect(first.got).toHaveLength(3)
  expect(first.losses).toEqual([])
})
