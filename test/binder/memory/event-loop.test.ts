import { createBinder, defineChannel, processor } from 'concordat/binder'
import { memoryTransport } from 'concordat/memory'
import { it } from 'vitest'
import { z } from 'zod'

it('the memory broker leaves timers their turn while a message begets the next one forever', async () => {
  const numbers = defineChannel('numbers', { payload: z.number() })
  const next = processor(numbers, numbers, { group: 'g' }, (n) => n + 1)
  await using binder = createBinder({ service: 's', transport: memoryTransport(), bindings: [next] })
  await binder.start()
  const fired = new Promise((resolve) => setTimeout(resolve, 1))
  await binder.send(numbers, 0)
  await fired
})
