import { type Binder, createBinder, defineChannel, processor, sink, to } from 'concordat/binder'
import { DAY } from 'concordat/core'
import { memoryBroker, memoryTransport } from 'concordat/memory'
import { describe, expect, it, onTestFinished } from 'vitest'
import { z } from 'zod'
import { MAX_DELAY_MS } from '../../support/inside/binder.ts'
import { FakeClock } from '../../support/locks/fake-clock.ts'

const numbers = defineChannel('numbers', { payload: z.number(), groups: ['g'] })
const copies = defineChannel('copies', { payload: z.number(), groups: ['g'] })

async function setup(): Promise<{ clock: FakeClock; binder: Binder; sender: Binder; got: Array<[number, number]> }> {
  const clock = new FakeClock()
  const start = clock.now()
  const broker = memoryBroker()
  const got: Array<[number, number]> = []
  const reader = sink(copies, { group: 'g' }, (n) => void got.push([n, clock.now() - start]))
  const later = processor(numbers, copies, { group: 'g' }, (n) => to(copies, n, { delayMs: n }))
  const make = async (bindings: Array<typeof reader | typeof later>): Promise<Binder> => {
    const binder = createBinder({ service: 'test', transport: memoryTransport({ broker }), clock, bindings })
    onTestFinished(() => binder.close())
    await binder.start()
    return binder
  }
  return { clock, got, binder: await make([reader, later]), sender: await make([]) }
}

describe('delayMs', () => {
  it('holds a message by the clock of the binder, to the millisecond in memory', async () => {
    const { clock, sender, got } = await setup()
    await sender.send(copies, 1, { delayMs: 5_000 })
    await clock.advance(4_999)
    expect(got).toEqual([])
    await clock.advance(1)
    expect(got).toEqual([[1, 5_000]])
  })

  it('outlives the sender, up to the longest delay', async () => {
    const { clock, sender, got } = await setup()
    await sender.send(copies, 1, { delayMs: MAX_DELAY_MS })
    await sender.close()
    await clock.advance(MAX_DELAY_MS - 1)
    expect(got).toEqual([])
    await clock.advance(1)
    expect(got).toEqual([[1, 30 * DAY]])
  })

  it('is an option of each message of a batch', async () => {
    const { clock, sender, got } = await setup()
    await sender.sendBatch(copies, [300, 100, 200, 0], (n) => ({ delayMs: n }))
    await clock.advance(300)
    expect(got).toEqual([
      [0, 0],
      [100, 100],
      [200, 200],
      [300, 300],
    ])
  })

  it('is an option of a processor’s output', async () => {
    const { clock, sender, got } = await setup()
    await sender.send(numbers, 700)
    await clock.advance(699)
    expect(got).toEqual([])
    await clock.advance(1)
    expect(got).toEqual([[700, 700]])
  })

  it.each([-1, 0.5, Number.NaN, MAX_DELAY_MS + 1, '5' as unknown as number])(
    'is refused when it is %s, naming the option and the limit',
    async (delayMs) => {
      const { clock, sender, got } = await setup()
      const sending = sender.send(copies, 1, { delayMs })
      await expect(sending).rejects.toThrow(/send\("copies"\)\.delayMs: .*whole number >= 0 and <= 2592000000/)
      await clock.advance(DAY)
      expect(got).toEqual([])
    },
  )
})
