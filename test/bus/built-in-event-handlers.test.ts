import { defineChannel, sink } from 'concordat/binder'
import { onEvent, PauseBinding, Refresh, ResumeBinding, SetLogLevel, Shutdown } from 'concordat/bus'
import { describe, expect, it } from 'vitest'
import { z } from 'zod'
import { gate, until } from '../support/until.ts'
import { keepingLogger, world } from './kit.ts'

const TO = { to: '**', ackTimeoutMs: 5_000 } as const
const work = defineChannel('work', { payload: z.object({}), groups: ['g'] })
const binderOptions = { bindings: [sink(work, { group: 'g' }, () => {})] }

describe('SetLogLevel', () => {
  it('sets the level of a logger that has one, as pino has', async () => {
    const logger = keepingLogger()
    const { bus } = await world().join({ logger })
    expect(await bus.publish(SetLogLevel, { level: 'debug' }, TO)).toMatchObject({ acked: [bus.address] })
    await bus.publish(SetLogLevel, { level: 'debug' }, TO)
    expect(logger.level).toBe('debug')
  })

  it('calls the hook', async () => {
    const levels: string[] = []
    const { bus } = await world().join({ setLevel: (level) => void levels.push(level) })
    await bus.publish(SetLogLevel, { level: 'silent' }, TO)
    expect(levels).toEqual(['silent'])
  })

  it('fails without a level, and for an invalid level', async () => {
    const { bus } = await world().join()
    const answer = await bus.publish(SetLogLevel, { level: 'info' }, TO)
    expect(answer.failed[0]?.error.message).toContain('give createBus a `setLevel` option')
    const wrong = bus.publish(SetLogLevel, { level: 'loud' as never }, TO)
    await expect(wrong).rejects.toThrow('level: expected one of trace, debug')
  })
})

describe('PauseBinding and ResumeBinding', () => {
  it('have no effect the second time, and are acknowledged', async () => {
    const { bus, binder } = await world().join({ binderOptions })
    for (const [event, state] of [
      [PauseBinding, 'paused'],
      [PauseBinding, 'paused'],
      [ResumeBinding, 'running'],
      [ResumeBinding, 'running'],
    ] as const) {
      expect((await bus.publish(event, { binding: 'work.g' }, TO)).acked).toHaveLength(1)
      expect(binder.binding('work.g').status().state).toBe(state)
    }
  })

  it('refuse the bindings of the bus, unknown ones, and stopped ones', async () => {
    const { bus, binder } = await world().join({ binderOptions })
    await binder.binding('work.g').stop()
    const says = async (binding: string): Promise<string | undefined> =>
      (await bus.publish(PauseBinding, { binding }, TO)).failed[0]?.error.message
    expect(await says('concordat.bus.events')).toContain('belongs to the bus itself')
    expect(await says('constructor')).toBe('binding "constructor" is not known here; bindings of this instance: work.g')
    expect(await says('work.g')).toContain('is stopped: only one that runs can be paused')
  })
})

describe('Shutdown', () => {
  it('is acknowledged first, then calls the hook, once', async () => {
    const { join } = world()
    const calls: unknown[] = []
    const [operator, target] = await Promise.all([
      join({ service: 'operator' }),
      join({
        onShutdown: async (request) => {
          calls.push(request)
          await target.bus.close()
          await target.binder.close()
        },
      }),
    ])
    const answer = await operator.bus.publish(Shutdown, { reason: 'release' }, { ...TO, to: 'orders:**' })
    expect(answer).toMatchObject({ acked: [target.bus.address], missing: [] })
    await until('it is closed', () => target.bus.health().status === 'closed')
    expect(calls).toMatchObject([{ reason: 'release', from: { service: 'operator' } }])
    await until('it has said goodbye', async () => (await operator.bus.members()).length === 1)
  })

  it('comes twice and is done once', async () => {
    let calls = 0
    const { bus } = await world().join({ onShutdown: () => void calls++ })
    await bus.publish(Shutdown, {}, TO)
    expect((await bus.publish(Shutdown, {}, TO)).acked).toHaveLength(1)
    expect(calls).toBe(1)
  })

  it('is done when it comes again after a handler of the same event had exceeded its time', async () => {
    const slow = gate()
    let calls = 0
    const { bus } = await world().join({
      handlerTimeoutMs: 100,
      onShutdown: () => void calls++,
      on: [onEvent(Shutdown, () => slow.opened)],
    })
    const first = await bus.publish(Shutdown, {}, TO)
    expect(first.failed[0]?.error).toMatchObject({ code: 'bus.handler_timeout' })
    slow.open()
    expect((await bus.publish(Shutdown, {}, TO)).acked).toHaveLength(1)
    await until('the hook was called', () => calls === 1)
  })

  it('fails without a hook; a hook that throws is logged', async () => {
    const { join } = world()
    const logger = keepingLogger()
    const fails = (): never => {
      throw new Error('cannot')
    }
    const [a, b] = await Promise.all([join({ instance: 'a' }), join({ instance: 'b', logger, onShutdown: fails })])
    const answer = await a.bus.publish(Shutdown, {}, TO)
    expect(answer).toMatchObject({ acked: [b.bus.address], failed: [{ error: { code: 'bus.control_refused' } }] })
    const failures = () => logger.lines.filter(({ message }) => message === 'bus: onShutdown failed').length
    await until('it was logged', () => failures() === 1)
    await a.bus.publish(Shutdown, {}, TO)
    await until('it was tried again', () => failures() === 2)
  })
})

it('Refresh loads every config that can be loaded, and fails when one of them does', async () => {
  const { bus } = await world().join()
  let version = 0
  const good = bus.config('good', { schema: z.number(), initial: 0, load: () => ({ value: ++version, version }) })
  expect((await bus.publish(Refresh, {}, TO)).acked).toHaveLength(1)
  expect(good.version).toBe(2)
  bus.config('bad', {
    schema: z.number(),
    initial: 0,
    load: () => {
      throw new Error('no store')
    },
  })
  const answer = await bus.publish(Refresh, {}, TO)
  expect(answer.failed[0]?.error.message).toBe('no store')
  expect(good.version).toBe(3)
})
