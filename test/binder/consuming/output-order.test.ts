import {
  createBinder,
  defineChannel,
  processor,
  processorBatch,
  produced,
  several,
  sink,
  TransportError,
} from 'concordat/binder'
import type { Transport } from 'concordat/extension'
import { memoryBroker, memoryTransport } from 'concordat/memory'
import { describe, expect, test } from 'vitest'
import { z } from 'zod'
import { until } from '../../support/until.ts'

const orders = defineChannel('orders', { payload: z.number(), key: () => 'one' })
const lines = defineChannel('lines', { payload: z.number(), key: (n) => (n % 3 === 0 ? 'a' : 'b') })
const COUNT = 60

/** A broker that confirms each message for itself, and refuses some the first time: a queue that is full now and then. */
function refusing(transport: Transport): Transport {
  const seen = new Set<string>()
  const publish: Transport['publish'] = async (messages) => {
    const isRefused = messages.map(({ destination, id }) => {
      const isFirst = destination === 'lines' && !seen.has(id)
      seen.add(id)
      return isFirst && Number.parseInt(id.slice(-2), 16) % 4 === 0
    })
    const taken = await transport.publish(messages.filter((_, i) => !isRefused[i]))
    let n = 0
    return messages.map((_, i) =>
      isRefused[i]
        ? new TransportError({ transport: 'full', kind: 'refused', message: 'the queue is full' })
        : taken[n++],
    )
  }
  return new Proxy(transport, {
    get: (target, name) => {
      if (name === 'publish') return publish
      if (name === 'confirmsSingly') return true
      const value = Reflect.get(target, name) as unknown
      return typeof value === 'function' ? value.bind(target) : value
    },
  })
}

describe('outputs of one key of one handler call', () => {
  test.each([
    [
      'a processor',
      processor(orders, lines, { group: 'g' }, () => several(Array.from({ length: COUNT }, (_, i) => i))),
    ],
    [
      'a batch',
      processorBatch(orders, lines, { group: 'g' }, (items) =>
        items.map(() => produced(several(Array.from({ length: COUNT }, (_, i) => i)))),
      ),
    ],
  ])('of %s arrive in order, although the broker refuses some of them at first', async (_, binding) => {
    const broker = memoryBroker()
    const got: number[] = []
    const reader = createBinder({
      service: 'reader',
      transport: memoryTransport({ broker }),
      bindings: [sink(lines, { group: 'r' }, (n) => void got.push(n))],
    })
    const writer = createBinder({
      service: 'writer',
      transport: refusing(memoryTransport({ broker })),
      bindings: [binding],
      sends: [orders],
    })
    await reader.start()
    await writer.start()
    await writer.send(orders, 1)
    await until('all came', () => new Set(got).size === COUNT, 60_000)
    for (const rest of [0, 1]) {
      const ofKey = got.filter((n) => (n % 3 === 0 ? 0 : 1) === rest)
      expect(ofKey).toEqual(ofKey.toSorted((a, b) => a - b))
    }
    await writer.close()
    await reader.close()
  })
})
