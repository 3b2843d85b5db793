import { createBinder, defineChannel, sink, source, TransportError } from 'concordat/binder'
import { describe, expect, it, onTestFinished } from 'vitest'
import { z } from 'zod'
import { gate, until } from '../../support/until.ts'
import { memoryLogger } from '../support/memory-logger.ts'
import { ScriptedTransport } from '../support/scripted-transport.ts'

const channel = defineChannel('numbers', { payload: z.number() })

describe('a start', () => {
  it('a start that was stopped in between and is refused late does not touch the next one', async () => {
    const transport = new ScriptedTransport()
    const numbers = sink(channel, { group: 'g', autoStart: false }, () => {})
    const binder = createBinder({ service: 'test', transport, bindings: [numbers] })
    onTestFinished(() => binder.close())
    await binder.start()
    const control = binder.binding('numbers.g')
    const refusal = new TransportError({ transport: 'scripted', kind: 'mismatch', message: 'no rights' })
    const slow = gate()
    let asked = 0
    transport.onSubscribe = async () => {
      if (++asked > 1) return
      await slow.opened
      throw refusal
    }
    const first = control.start().catch((error: unknown) => error)
    await until('the broker is asked', () => asked === 1)
    await control.stop()
    await control.start()
    slow.open()
    expect(await first).toBe(refusal)
    expect(control.status()).toMatchObject({ state: 'running' })
    await control.stop()
    expect(transport.subscription.closed).toBe(true)
  })

  it('a start that fails leaves a halted binding halted, with its error', async () => {
    const transport = new ScriptedTransport()
    const failing = sink(channel, { group: 'g', maxAttempts: 1, onFailure: 'halt' }, () => {
      throw new Error('closed')
    })
    const { logger } = memoryLogger()
    const binder = createBinder({ service: 'test', transport, bindings: [failing], logger })
    onTestFinished(() => binder.close())
    await binder.start()
    const control = binder.binding('numbers.g')
    transport.subscription.deliver(null, 1)
    await until('it halts', () => control.status().state === 'halted')
    const { error } = control.status()
    const refusal = new TransportError({ transport: 'scripted', kind: 'mismatch', message: 'has 8 partitions, not 4' })
    transport.onSubscribe = () => Promise.reject(refusal)
    await expect(control.start()).rejects.toBe(refusal)
    expect(control.status()).toMatchObject({ state: 'halted', error })
    expect(error).toContain('failed for good')
    expect(binder.health().status).toBe('down')
    transport.onSubscribe = async () => {}
    await control.start()
    expect(control.status()).toMatchObject({ state: 'running', error: undefined })
  })

  it('a start that waits for a stop is paused if pause is called in between', async () => {
    const transport = new ScriptedTransport()
    const finish = gate()
    const got: number[] = []
    const numbers = sink(channel, { group: 'g' }, async (n) => {
      got.push(n)
      await finish.opened
    })
    const binder = createBinder({ service: 'test', transport, bindings: [numbers] })
    onTestFinished(() => binder.close())
    await binder.start()
    const control = binder.binding('numbers.g')
    transport.subscription.deliver(null, 1)
    await until('it is handled', () => got.length === 1)
    const stopped = control.stop()
    const started = control.start()
    control.pause()
    finish.open()
    await Promise.all([stopped, started])
    expect(control.status()).toMatchObject({ state: 'paused', subscribed: 2 })
    const held = transport.subscription.deliver(null, 2)
    await new Promise(setImmediate)
    expect(got).toEqual([1])
    control.resume()
    await until('it goes on', () => held.end === 'acked')
  })

  it('a source whose start waits for a stop is paused if pause is called in between', async () => {
    const polling = gate()
    let polls = 0
    const numbers = source(channel, { everyMs: 1 }, async () => {
      polls++
      await polling.opened
      return undefined
    })
    const binder = createBinder({ service: 'test', transport: new ScriptedTransport(), bindings: [numbers] })
    onTestFinished(() => binder.close())
    await binder.start()
    const control = binder.binding('numbers.source')
    await until('it polls', () => polls === 1)
    const stopped = control.stop()
    const started = control.start()
    control.pause()
    polling.open()
    await Promise.all([stopped, started])
    expect(control.status()).toMatchObject({ state: 'paused' })
    expect(polls).toBe(1)
    control.resume()
    await until('it goes on', () => polls > 1)
  })
})
