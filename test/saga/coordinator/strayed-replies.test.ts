/** Two coordinators of one service name keep their sagas in two schemas, by mistake, and share the replies. */
import type { SinkBinding } from 'concordat/binder'
import { defineSaga } from 'concordat/saga'
import { expect, onTestFinished, test } from 'vitest'
import { z } from 'zod'
import { deliver } from '../support/delivery.ts'
import { runningWorlds } from '../support/running-world.ts'
import { stockCommands, type World } from '../support/world.ts'

const setup = runningWorlds()
const define = (version: number) =>
  defineSaga('order', { version, input: z.object({ n: z.number() }) }).command('reserve', {
    to: stockCommands,
    request: ({ input }) => ({ sku: 's', n: input.n }),
    compensate: true,
  })
const saga = define(1)
const within = { timeoutMs: 15_000 }

/** A saga that waits for a reply, which the test gives. */
async function waiting(world: World, id: string) {
  world.stock().pause()
  const run = await world.coordinator.start(saga, { id, input: { n: 1 } })
  const { rows } = await world.sql.query<{ birth: string }>(`SELECT birth FROM ${world.schema}.saga WHERE id = $1`, [
    id,
  ])
  const reply = { saga: 'order', sagaId: id, step: 'reserve', operation: 'invoke', status: 'ok', birth: rows[0]?.birth }
  return { run, reply }
}

const give = ({ coordinator }: World, reply: object): Promise<void> =>
  deliver(coordinator.bindings[0] as SinkBinding, reply, {}, 1)

test.each(['that is not here', 'whose id a saga here has, too'])(
  'a reply for a saga of the other schema %s is not settled: it is an error that names both, in health as well',
  async (which) => {
    const [one, other] = [await setup({ sagas: [saga] }), await setup({ sagas: [saga] })]
    const { run, reply } = await waiting(one, 'o-1')
    if (which !== 'that is not here') await waiting(other, 'o-1')
    expect(other.coordinator.health()).toMatchObject({ status: 'up' })
    await expect(give(other, reply)).rejects.toMatchObject({
      code: 'saga.reply_strayed',
      retryable: false,
      message: expect.stringMatching(
        /^the reply of step "reserve" of order\/o-1 is for a coordinator with another database or schema \(saga_home \w{8}; here it is \w{8}\)/,
      ),
    })
    expect(other.coordinator.health()).toMatchObject({
      status: 'down',
      error: expect.stringContaining('Give each a service name'),
    })
    await give(one, reply)
    expect((await run.outcome(within)).status).toBe('completed')
    expect(one.coordinator.health()).toMatchObject({ status: 'up' })
  },
)

test('a reply for a deleted saga of this service is settled', async () => {
  const world = await setup({ sagas: [saga] })
  const { run, reply } = await waiting(world, 'o-1')
  await give(world, reply)
  expect((await run.outcome(within)).status).toBe('completed')
  expect(await world.coordinator.purge({ olderThanMs: 0 })).toBe(1)
  await give(world, reply)
  await give(world, { ...reply, birth: 'one of a coordinator that makes them another way' })
  expect(world.coordinator.health()).toMatchObject({ status: 'up' })
})

test('a reply for a deleted saga is not left for a saga that has its id now, of a version that is not loaded here', async () => {
  const world = await setup({ sagas: [saga] })
  const { run, reply } = await waiting(world, 'o-1')
  await give(world, reply)
  await run.outcome(within)
  await world.coordinator.purge({ olderThanMs: 0 })
  const second = define(2)
  const newer = world.another({ sagas: [second] })
  onTestFinished(() => newer.close())
  await newer.start(second, { id: 'o-1', input: { n: 2 } })
  await give(world, reply)
  const { rows } = await world.sql.query(`SELECT status, mail FROM ${world.schema}.saga`)
  expect(rows).toEqual([{ status: 'running', mail: null }])
})
