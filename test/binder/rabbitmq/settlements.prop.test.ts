import type { TransportDelivery } from 'concordat/extension'
import fc from 'fast-check'
import { expect, it } from 'vitest'
import { FakeBroker } from './fake-broker.ts'
import { attached, numbers, Recorder, subscribe } from './kit.ts'

type Step = readonly ['put' | 'turn' | 'cut' | 'cancel'] | readonly ['ack' | 'release', number]

const step: fc.Arbitrary<Step> = fc.oneof(
  fc.tuple(fc.constantFrom('put' as const, 'turn' as const)),
  fc.tuple(fc.constantFrom('ack' as const, 'release' as const), fc.nat()),
  { arbitrary: fc.tuple(fc.constantFrom('ack' as const), fc.nat()), weight: 3 },
  { arbitrary: fc.tuple(fc.constantFrom('cut' as const, 'cancel' as const)), weight: 1 },
)

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))

/** Runs the steps on one queue with one member, which reconnects after each loss. */
async function run(steps: readonly Step[], prefetch: number) {
  const broker = new FakeBroker()
  const queue = broker.queue('orders:g')
  const transport = attached({ connect: broker.connect })
  const settled = new Set<number>()
  const strange: string[] = []
  let recorder = Recorder.keeping()
  let sent = 0
  const join = async (): Promise<void> => {
    recorder = Recorder.keeping()
    await subscribe(transport, 'orders', recorder, { partitions: 1, prefetch })
    await turn()
  }
  const lent = (): TransportDelivery[] => recorder.got.filter(({ signal }) => !signal.aborted)
  /** Messages that the broker no longer has were settled here. */
  const look = (): void => {
    const out = broker.connections.flatMap(({ channels }) => channels).flatMap((channel) => [...channel.out.values()])
    const held = new Set([...queue.ready, ...out.map(({ stored }) => stored)].map(({ body }) => Number(body)))
    for (const n of numbers(sent)) if (!held.has(n) && !settled.has(n)) strange.push(`${n} is gone`)
  }
  const settle = (delivery: TransportDelivery | undefined): void => {
    if (delivery === undefined) return
    delivery.ack()
    settled.add(Number(delivery.message.id))
  }
  await join()
  for (const [what, at = 0] of steps) {
    if (what === 'put') queue.put(String(sent++), String(sent++), String(sent++))
    else if (what === 'turn') await turn()
    else if (what === 'ack') settle(lent()[at % lent().length])
    else if (what === 'release') lent()[at % lent().length]?.release()
    else {
      if (what === 'cancel') queue.cancelConsumers()
      else queue.consumers[0]?.channel.fail(541, 'INTERNAL_ERROR')
      await turn()
      await join()
    }
    look()
  }
  for (let before = -1; before !== recorder.got.length; ) {
    before = recorder.got.length
    for (const delivery of lent()) settle(delivery)
    await turn()
    await turn()
    look()
  }
  const out = broker.connections.flatMap(({ channels }) => channels).reduce((sum, channel) => sum + channel.out.size, 0)
  const left = out + queue.ready.length
  await transport.close()
  return { strange, settled: settled.size, sent, left, losses: recorder.losses }
}

it('the broker forgets exactly the messages that were settled', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 60 }), fc.integer({ min: 1, max: 8 }), async (steps, prefetch) => {
      const { strange, settled, sent, left, losses } = await run(steps, prefetch)
      expect(strange).toEqual([])
      expect({ settled, left, losses }).toEqual({ settled: sent, left: 0, losses: [] })
    }),
    { numRuns: 150 },
  )
})
