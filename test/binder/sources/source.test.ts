import {
  createBinder,
  defineChannel,
  type SourceBinding,
  several,
  sink,
  source,
  TransportError,
} from 'concordat/binder'
import { type Logger, silentLogger } from 'concordat/core'
import { memoryTransport } from 'concordat/memory'
import { describe, expect, it, onTestFinished } from 'vitest'
import { z } from 'zod'
import { gate, until } from '../../support/until.ts'
import { ScriptedTransport } from '../support/scripted-transport.ts'

const ticks = defineChannel('ticks', { payload: z.number(), groups: ['g'] })
const pending = (): Promise<never> => new Promise(() => {})

async function hear(binding: SourceBinding, logger?: Logger): Promise<{ heard: number[]; close: () => Promise<void> }> {
  const heard: number[] = []
  const binder = createBinder({
    service: 'test',
    transport: memoryTransport(),
    bindings: [binding, sink(ticks, { group: 'g' }, (n) => void heard.push(n))],
    logger,
  })
  onTestFinished(() => binder.close())
  await binder.start()
  return { heard, close: () => binder.close() }
}

describe('a source', () => {
  it('sends one payload, several, or none per poll', async () => {
    const answers = [1, undefined, several([2, 3]), several([])]
    const binding = source(ticks, { everyMs: 0 }, () => (answers.length > 0 ? answers.shift() : undefined))
    const { heard } = await hear(binding)
    await until('all came', () => heard.length === 3 && answers.length === 0)
    expect(heard).toEqual([1, 2, 3])
  })

  it('is connecting, with the reason, while its polls fail one after another', async () => {
    let fails = true
    const binding = source(ticks, { everyMs: 0, name: 'table' }, () => {
      if (fails) throw new Error('table is gone')
      return undefined
    })
    const binder = createBinder({
      service: 'test',
      transport: memoryTransport(),
      bindings: [binding],
      logger: silentLogger,
    })
    onTestFinished(() => binder.close())
    await binder.start()
    const status = () => binder.binding('table').status()
    await until('it is told', () => status().state === 'connecting')
    expect(status().error).toBe('table is gone')
    expect(binder.health().status).toBe('down')
    fails = false
    await until('it is up', () => binder.health().status === 'up')
    expect(status()).toMatchObject({ state: 'running', error: undefined })
  })

  it('never polls twice at a time', async () => {
    let polls = 0
    const { opened, ...hold } = gate()
    const binding = source(ticks, { everyMs: 0 }, async () => {
      polls++
      await opened
      return polls
    })
    const { heard } = await hear(binding)
    await new Promise(setImmediate)
    expect(polls).toBe(1)
    hold.open()
    await until('it polled on', () => heard.length > 1)
    expect(heard.slice(0, 2)).toEqual([1, 2])
  })

  it('polls again after a poll that threw, and reports the error', async () => {
    let polls = 0
    const errors: string[] = []
    const ignore = (): void => {}
    const logger = { debug: ignore, info: ignore, warn: ignore, error: (_: unknown, text: string) => errors.push(text) }
    const binding = source(ticks, { everyMs: 0 }, () => {
      if (++polls === 1) throw new Error('first')
      return polls
    })
    const { heard } = await hear(binding, logger as unknown as Logger)
    await until('a later poll worked', () => heard.length > 0)
    expect(heard[0]).toBe(2)
    expect(errors).toContain('source failed, polling again')
  })

  it('gets its signal aborted when the binder closes', async () => {
    const aborted = gate()
    const begun = gate()
    const binding = source(ticks, { everyMs: 0 }, async ({ signal }) => {
      begun.open()
      await new Promise<void>((resolve) => signal.addEventListener('abort', () => resolve()))
      aborted.open()
      return undefined
    })
    const { close } = await hear(binding)
    await begun.opened
    await close()
    await aborted.opened
  })

  it('a source that never returns does not keep the binder from closing', async () => {
    const begun = gate()
    const binding = source(ticks, { everyMs: 0 }, () => {
      begun.open()
      return pending()
    })
    const options = { service: 'test', transport: memoryTransport(), bindings: [binding], drainTimeoutMs: 10 }
    const binder = createBinder(options)
    await binder.start()
    await begun.opened
    await binder.close()
    expect(binder.binding('ticks.source').status().state).toBe('stopped')
  })

  it('a source that is started while it stops polls on, after the poll under way', async () => {
    const polls: Array<ReturnType<typeof gate>> = []
    const binding = source(ticks, { everyMs: 0 }, async () => {
      const poll = gate()
      polls.push(poll)
      await poll.opened
      return undefined
    })
    const binder = createBinder({ service: 'test', transport: memoryTransport(), bindings: [binding] })
    onTestFinished(() => {
      const closed = binder.close()
      for (const poll of polls) poll.open()
      return closed
    })
    await binder.start()
    await until('it polls', () => polls.length === 1)
    const control = binder.binding('ticks.source')
    const all = Promise.all([control.stop(), control.start()])
    await new Promise(setImmediate)
    expect(polls).toHaveLength(1)
    polls[0]?.open()
    await all
    await until('it polls again', () => polls.length === 2)
    expect(control.status().state).toBe('running')
  })

  it('polls nothing while it is paused', async () => {
    const counts = { paused: 0, other: 0 }
    const others = defineChannel('others', { payload: z.number() })
    const bindings = [
      source(ticks, { everyMs: 0 }, () => void counts.paused++),
      source(others, { everyMs: 0 }, () => void counts.other++),
    ]
    const binder = createBinder({ service: 'test', transport: memoryTransport(), bindings })
    onTestFinished(() => binder.close())
    await binder.start()
    await until('it polls', () => counts.paused > 0)
    binder.binding('ticks.source').pause()
    const before = { ...counts }
    await until('the other one polled on', () => counts.other > before.other + 5)
    expect(counts.paused).toBe(before.paused)
    binder.binding('ticks.source').resume()
    await until('it polls again', () => counts.paused > before.paused)
  })

  it('sends the same message again, under the same id, until it is confirmed', async () => {
    const transport = new ScriptedTransport()
    let refusals = 2
    transport.onPublish = async (messages) =>
      messages.map(() =>
        refusals-- > 0 ? new TransportError({ transport: 'scripted', kind: 'refused', message: 'not now' }) : undefined,
      )
    let polls = 0
    const binding = source(ticks, { everyMs: 0 }, () => (++polls === 1 ? 7 : pending()))
    const binder = createBinder({ service: 'test', transport, bindings: [binding], drainTimeoutMs: 0 })
    onTestFinished(() => binder.close())
    await binder.start()
    await until('it was confirmed', () => polls === 2)
    const ids = transport.published.map(([message]) => message?.id)
    expect(ids).toHaveLength(3)
    expect(new Set(ids).size).toBe(1)
  })

  it('halts when the broker refuses all of a poll, keeps it, and sends it first when started again', async () => {
    const transport = new ScriptedTransport()
    let isRefused = true
    transport.onPublish = async (messages) =>
      messages.map(() =>
        isRefused
          ? new TransportError({ transport: 'scripted', kind: 'unroutable', message: 'no such channel' })
          : undefined,
      )
    let polls = 0
    const binding = source(ticks, { everyMs: 0 }, () => (++polls === 1 ? 7 : pending()))
    const binder = createBinder({ service: 'test', transport, bindings: [binding], drainTimeoutMs: 0 })
    onTestFinished(() => binder.close())
    await binder.start()
    const control = binder.binding('ticks.source')
    await until('it halted', () => control.status().state === 'halted')
    expect(control.status().error).toContain('no such channel')
    expect(binder.health().status).toBe('down')
    isRefused = false
    await control.start()
    await until('it polls on', () => polls === 2)
    const ids = transport.published.map(([message]) => message?.id)
    expect(ids).toHaveLength(2)
    expect(new Set(ids).size).toBe(1)
  })

  it('continues after a message that the broker can never accept: it is logged, counted and dropped, the others are sent once', async () => {
    const transport = new ScriptedTransport()
    transport.onPublish = async (messages) =>
      messages.map(({ body }) =>
        (body?.byteLength ?? 0) > 3
          ? new TransportError({ transport: 'scripted', kind: 'too_large', message: 'over the limit' })
          : undefined,
      )
    const errors: string[] = []
    const ignore = (): void => {}
    const logger = { debug: ignore, info: ignore, warn: ignore, error: (_: unknown, text: string) => errors.push(text) }
    let polls = 0
    const binding = source(ticks, { everyMs: 0 }, () => {
      polls++
      if (polls === 1) return several([1, 99_999, 2])
      if (polls === 2) return 88_888
      return polls === 3 ? 3 : pending()
    })
    const options = { service: 'test', transport, bindings: [binding], drainTimeoutMs: 0 }
    const binder = createBinder({ ...options, logger: logger as unknown as Logger })
    onTestFinished(() => binder.close())
    await binder.start()
    await until('it polls on', () => polls === 4)
    const { state, dropped } = binder.binding('ticks.source').status()
    expect({ state, dropped, health: binder.health().status }).toEqual({ state: 'running', dropped: 2, health: 'up' })
    const sent = transport.published.flat().map(({ body }) => Buffer.from(body ?? []).toString())
    expect(sent.filter((text) => text.length < 3)).toEqual(['1', '2', '3'])
    expect(errors).toEqual(Array.from({ length: 2 }, () => 'the broker never takes a message of this source: dropped'))
  })
})
