import { createBinder, defineChannel, sink, TransportError } from 'concordat/binder'
import { MINUTE, SECOND } from 'concordat/core'
import { describe, expect, it, onTestFinished } from 'vitest'
import { z } from 'zod'
import { FakeClock } from '../../../support/locks/fake-clock.ts'
import { until } from '../../../support/until.ts'
import { memoryLogger } from '../../support/memory-logger.ts'
import { ScriptedTransport } from '../../support/scripted-transport.ts'

const orders = defineChannel('orders', { payload: z.number() })
const refused = (kind: 'mismatch' | 'unavailable') =>
  new TransportError({ transport: 'scripted', kind, message: 'the retry channel may not be read' })

/** Binding without delayed retries, on a broker that answers as the test says whether there is a retry channel. */
async function started(answer: () => boolean) {
  const clock = new FakeClock()
  const transport = Object.assign(new ScriptedTransport(), { hasPlace: async () => answer() })
  const binding = sink(orders, { group: 'g' }, () => {})
  const { logger } = memoryLogger()
  const binder = createBinder({ service: 'test', transport, bindings: [binding], clock, logger })
  onTestFinished(() => binder.close())
  await binder.start()
  const read = () => transport.subscriptions.map(({ spec }) => spec.destination)
  return { binder, clock, transport, read, status: () => binder.binding('orders.g').status() }
}

describe('a binding that looks for a retry channel of its group', () => {
  it('starts when it may not look, says so in its health, and reads the retries once it may', async () => {
    const state = { mayLook: false }
    const { binder, clock, read, status } = await started(() => {
      if (!state.mayLook) throw refused('mismatch')
      return true
    })
    expect(read()).toEqual(['orders'])
    expect(status()).toMatchObject({ state: 'connecting', error: 'the retry channel may not be read' })
    expect(binder.health().status).toBe('down')
    state.mayLook = true
    await clock.advance(MINUTE)
    await until('it reads the retries', () => read().length === 2)
    expect(read()).toEqual(['orders', 'orders.g.retry'])
    expect(status()).toMatchObject({ state: 'running', error: undefined })
    expect(binder.health().status).toBe('up')
  })

  it('is unhealthy once it fails twice in a row for a reason that may pass', async () => {
    const state = { isAway: false }
    const { clock, status } = await started(() => {
      if (state.isAway) throw refused('unavailable')
      return false
    })
    expect(status()).toMatchObject({ state: 'running', error: undefined })
    state.isAway = true
    await clock.advance(MINUTE)
    expect(status()).toMatchObject({ state: 'running', error: 'the retry channel may not be read' })
    await clock.advance(MINUTE)
    expect(status()).toMatchObject({ state: 'connecting', error: 'the retry channel may not be read' })
    state.isAway = false
    await clock.advance(MINUTE)
    expect(status()).toMatchObject({ state: 'running', error: undefined })
  })

  it('takes its place again when it may no longer use the retry channel, and is not halted', async () => {
    const { clock, transport, read, status } = await started(() => true)
    expect(read()).toEqual(['orders.g.retry', 'orders'])
    transport.onProvision = async (specs) => {
      if (specs.some(({ name }) => name === 'orders.g.retry')) throw refused('mismatch')
    }
    transport.subscription.receiver.lost(new Error('connection reset'))
    await clock.advance(SECOND)
    expect(read().slice(2)).toEqual(['orders'])
    expect(status()).toMatchObject({ subscribed: 2, state: 'connecting', error: 'the retry channel may not be read' })
  })

  it('needs nothing that delays messages', async () => {
    const { transport } = await started(() => true)
    const retries = transport.provisioned.flat().filter(({ name }) => name === 'orders.g.retry')
    expect(retries.map(({ delays }) => delays === true)).toEqual([false])
  })
})
