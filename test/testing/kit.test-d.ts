import { defineChannel, sink } from 'concordat/binder'
import { createTestKit } from 'concordat/testing'
import { expectTypeOf, test } from 'vitest'
import { z } from 'zod'

const orders = defineChannel('orders', { payload: z.object({ at: z.string().transform((text) => new Date(text)) }) })

test('the types of a test follow the channels', async () => {
  const kit = await createTestKit({ bindings: [sink(orders, { group: 'g' }, () => {})] })
  const outputs = await kit.outputs(orders)
  expectTypeOf(outputs[0]?.payload).toEqualTypeOf<{ at: Date } | undefined>()
  await kit.send(orders, { at: '2026-01-01' })
  // @ts-expect-error the input form of the payload travels
  await kit.send(orders, { at: new Date() })
  // @ts-expect-error a payload of another channel
  await kit.sendShuffled(orders, [{ orderId: 'a' }], 1)
})
