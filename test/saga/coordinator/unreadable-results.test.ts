/** Results of sagas that the schemas of a new release refuse: `reply` was made narrower under the same version. */
import { defineSaga, type SagaRun } from 'concordat/saga'
import { expect, test } from 'vitest'
import { z } from 'zod'
import { until } from '../../support/until.ts'
import { runningWorlds } from '../support/running-world.ts'
import { stockCommands, type World } from '../support/world.ts'

const setup = runningWorlds()
const Input = z.object({ sku: z.string(), n: z.number() })
const Receipt = z.object({ receipt: z.string() })
const Wider = z.object({ receipt: z.string(), total: z.number() })
const unreadable = { code: 'saga.result_unreadable', saga: 'buy', id: 's1', version: 1, step: 'charge' }

const begun = (reply: z.ZodType<z.infer<typeof Receipt>>) =>
  defineSaga('buy', { version: 1, input: Input })
    .command('charge', { to: stockCommands, request: ({ input }) => input, reply, compensate: true })
    .signal('go', { payload: z.string() })
const calling = (reply: z.ZodType<z.infer<typeof Receipt>>) =>
  begun(reply).step('ship', { invoke: ({ results }) => results.charge.receipt, compensate: 'none' })
const asking = (reply: z.ZodType<z.infer<typeof Receipt>>) =>
  begun(reply).command('ship', {
    to: stockCommands,
    request: ({ results }) => ({ sku: results.charge.receipt, n: 1 }),
    compensate: 'none',
  })

interface Shop {
  readonly world: World
  readonly run: SagaRun
  readonly calls: string[]
}

/** A saga that waits for its signal, started by the old release, which has stopped. */
async function waiting(old: ReturnType<typeof begun>): Promise<Shop> {
  const calls: string[] = []
  const handlers = {
    invoke: ({ sku }: { sku: string }) => {
      calls.push(`sell ${sku}`)
      return { receipt: 'r1' }
    },
    compensate: ({ sku }: { sku: string }) => void calls.push(`take back ${sku}`),
  }
  const world = await setup({ sagas: [old], handlers, coordinator: { leaseMs: 300 } })
  const run = await world.coordinator.start(old, { id: 's1', input: { sku: 'apple', n: 2 } })
  await until('it waits for the signal', async () =>
    (await run.report()).steps.some(({ step, status }) => step === 'go' && status === 'invoking'),
  )
  return { world, run, calls }
}

test('a step that a message asks for is left to a release that can read the results before it', async () => {
  const { world, run, calls } = await waiting(asking(Receipt))
  const release = world.another({ sagas: [asking(Wider)] })
  await release.run()
  await expect(release.signal(asking(Wider), 's1', 'go', 'now')).rejects.toMatchObject({
    ...unreadable,
    message: expect.stringMatching(/total.*raise `version`/),
  })
  await release.close()
  await world.coordinator.signal(asking(Receipt), 's1', 'go', 'now')
  expect((await run.outcome({ timeoutMs: 10_000 })).status).toBe('completed')
  expect(calls).toEqual(['sell apple', 'sell r1'])
})

test('a step that the coordinator calls is left to a release that can read the results before it', async () => {
  const { world, run, calls } = await waiting(calling(Receipt))
  await world.coordinator.close()
  const errors: unknown[] = []
  const silent = (): void => {}
  const logger = {
    debug: silent,
    info: silent,
    warn: silent,
    error: (fields: object) => void ('err' in fields && errors.push(fields)),
  }
  const release = world.another({ sagas: [calling(Wider)], logger })
  await release.run()
  await release.signal(calling(Wider), 's1', 'go', 'now')
  await until('it has tried', () => errors.length > 0)
  expect(release.health()).toMatchObject({
    status: 'degraded',
    detail: expect.stringMatching(/saga buy\/s1 not read: .*raise `version`/),
  })
  await release.close()
  expect(errors[0]).toMatchObject({ err: unreadable })
  expect((await run.report()).status).toBe('running')
  const again = world.another({ sagas: [calling(Receipt)] })
  await again.run()
  const outcome = await again.get(calling(Receipt), 's1').outcome({ timeoutMs: 10_000 })
  expect(outcome).toMatchObject({ status: 'completed', results: { ship: 'r1' } })
  expect(again.health()).toMatchObject({ status: 'up' })
  expect(calls).toEqual(['sell apple'])
  await again.close()
})

test('a saga that has ended has the stored results, also those that the schema of a new release refuses', async () => {
  const { world, run } = await waiting(calling(Receipt))
  await world.coordinator.signal(calling(Receipt), 's1', 'go', 'now')
  await run.outcome({ timeoutMs: 10_000 })
  const release = world.another({ sagas: [calling(Wider)] })
  const outcome = await release.get(calling(Wider), 's1').outcome({ timeoutMs: 5_000 })
  expect(outcome).toMatchObject({ status: 'completed', results: { charge: { receipt: 'r1' }, ship: 'r1' } })
  await release.close()
})
