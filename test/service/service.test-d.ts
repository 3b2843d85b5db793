import { defineChannel } from 'concordat/binder'
import { memoryTransport } from 'concordat/memory'
import { defineSaga } from 'concordat/saga'
import { createService } from 'concordat/service'
import { expectTypeOf, test } from 'vitest'
import { z } from 'zod'

const sent = defineChannel('orders.sent', { payload: z.object({ n: z.number() }) })
const notSent = defineChannel('orders.not-sent', { payload: z.object({ n: z.number() }) })
const saga = defineSaga('count', { version: 1, input: z.object({ n: z.number() }) }).step('one', {
  invoke: () => 'done',
  compensate: 'none',
})

test('payloads, inputs, channels and results are known to the compiler', async () => {
  const service = createService({ name: 'shop', transport: memoryTransport(), sends: [sent], sagas: [saga] })
  await service.send(sent, { n: 1 })
  // @ts-expect-error -- wrong payload
  await service.send(sent, { n: '1' })
  // @ts-expect-error -- not among `sends`
  await service.send(notSent, { n: 1 })
  await service.transaction(async (tx) => {
    await tx.send(sent, { n: 1 })
    // @ts-expect-error -- not among `sends`
    await tx.send(notSent, { n: 1 })
    // @ts-expect-error -- wrong input
    await tx.start(saga, { id: 'a', input: { n: '1' } })
  })
  const run = await service.run(saga, { id: 'a', input: { n: 1 } })
  const outcome = await run.outcome()
  if (outcome.status === 'completed') expectTypeOf(outcome.results.one).toEqualTypeOf<string>()
})

test('a service without sends sends nothing', async () => {
  const service = createService({ name: 'shop', transport: memoryTransport() })
  // @ts-expect-error -- no channel was declared
  await service.send(sent, { n: 1 })
})
