import { getEventListeners } from 'node:events'
import { type Binder, createBinder, defineChannel, pollable, sink } from 'concordat/binder'
import { memoryBroker, memoryTransport } from 'concordat/memory'
import { describe, expect, it, onTestFinished, vi } from 'vitest'
import { z } from 'zod'
import type { PollableOptions } from '../../support/inside/binder.ts'
import { drain, FakeClock } from '../../support/locks/fake-clock.ts'
import { gate, until } from '../../support/until.ts'
import { ScriptedTransport } from '../support/scripted-transport.ts'

const channel = defineChannel('numbers', { payload: z.number() })

async function setup(options: Partial<PollableOptions> = {}) {
  const clock = new FakeClock()
  const transport = new ScriptedTransport()
  const jobs = pollable(channel, { group: 'g', maxAttempts: 1, ...options, inbox: undefined })
  const binder = createBinder({ service: 'test', transport, clock, bindings: [jobs] })
  onTestFinished(() => binder.close())
  await binder.start()
  const got: number[] = []
  const poll = (options?: Parameters<Binder['poll']>[2]) => binder.poll(jobs, (n) => void got.push(n), options)
  return { clock, transport, jobs, binder, got, poll, control: binder.binding('numbers.g') }
}

describe('poll', () => {
  it('fetches nothing from the broker before the first call, but creates the group', async () => {
    const { transport, control } = await setup()
    expect(transport.subscriptions).toEqual([])
    expect(transport.provisioned.flat().map(({ name, groups }) => [name, groups])).toContainEqual(['numbers', ['g']])
    expect(control.status()).toMatchObject({ kind: 'poll', state: 'stopped' })
  })

  it('resolves when one message is settled, and leaves the others with the broker', async () => {
    const { transport, got, poll, control } = await setup()
    const polled = poll()
    await until('it listens', () => control.status().state === 'running')
    const [first, second] = [transport.subscription.deliver(null, 7), transport.subscription.deliver(null, 8)]
    expect(transport.subscription.paused).toBe(true)
    expect(await polled).toBe(true)
    expect([got, first.end, second.end]).toEqual([[7], 'acked', 'released'])
    expect(transport.subscription.spec.prefetch).toBe(1)
    expect(control.status()).toMatchObject({ state: 'paused', handled: 1, queued: 0 })
  })

  it('gets the messages of the other partitions while one partition is blocked', async () => {
    const { clock, transport, got, poll, control } = await setup()
    await control.start()
    const reason = new Error('partition 3 cannot be read')
    transport.subscription.receiver.stalled?.({ reason, isPassing: false })
    const polled = poll().catch((error: unknown) => error)
    await until('it takes messages', () => !transport.subscription.paused)
    expect(control.status()).toMatchObject({ state: 'connecting', error: reason.message })
    transport.subscription.deliver(null, 7)
    await clock.advance(30_000)
    expect([await polled, got]).toEqual([true, [7]])
  })

  it('a poll that meets a start gets its message', async () => {
    const { clock, transport, got, poll, control } = await setup()
    const subscribed = gate()
    transport.onSubscribe = () => subscribed.opened
    const started = control.start()
    const polled = poll().catch((error: unknown) => error)
    await drain()
    subscribed.open()
    await started
    await clock.advance(100)
    expect(control.status().state).toBe('running')
    transport.subscription.deliver(null, 7)
    await clock.advance(100)
    expect([await polled, got]).toEqual([true, [7]])
  })

  it('resolves with false when no message arrives in time, and holds no late one', async () => {
    const { clock, transport, got, poll } = await setup()
    const polled = poll({ waitMs: 1_000 })
    await clock.advance(1_000)
    expect(await polled).toBe(false)
    const late = transport.subscription.deliver(null, 1)
    const next = poll()
    expect(await next).toBe(true)
    expect([got, late.end]).toEqual([[1], 'acked'])
  })

  it('leaves no listener behind when no message arrives, nor in a pause', async () => {
    const { clock, poll, control } = await setup()
    const made = vi.spyOn(AbortSignal, 'any')
    onTestFinished(() => made.mockRestore())
    const empty = async (): Promise<void> => {
      const polled = poll({ waitMs: 10 })
      await clock.advance(100)
      expect(await polled).toBe(false)
    }
    await empty()
    control.pause()
    await empty()
    const signals = made.mock.results.map(({ value }) => value as AbortSignal)
    expect(signals.map((signal) => getEventListeners(signal, 'abort').length)).toEqual([0, 0])
  })

  it('gives its place back in time also when a poll met a pause, or was aborted in it', async () => {
    const { clock, poll, control } = await setup({ keepMs: 3_000 })
    const polled = poll({ waitMs: 100 })
    await clock.advance(100)
    expect(await polled).toBe(false)
    control.pause()
    const paused = poll({ waitMs: 10 })
    await clock.advance(10)
    expect(await paused).toBe(false)
    const aborted = poll({ waitMs: 1_000, signal: AbortSignal.abort(new Error('enough')) })
    await expect(aborted).rejects.toThrow('enough')
    await clock.advance(3_000)
    await until('the place was given back', () => control.status().state === 'stopped')
  })

  it('keeps its place for a while and gives it back when no poll comes', async () => {
    const { clock, transport, poll, control } = await setup({ keepMs: 3_000 })
    for (let round = 0; round < 2; round++) {
      const polled = poll({ waitMs: 100 })
      await clock.advance(100)
      await polled
      await clock.advance(2_000)
    }
    expect(transport.subscriptions).toHaveLength(1)
    await clock.advance(1_000)
    expect([transport.subscription.closed, control.status().state]).toEqual([true, 'stopped'])
    const polled = poll()
    await drain()
    transport.subscription.deliver(null, 1)
    expect(await polled).toBe(true)
    expect(transport.subscriptions).toHaveLength(2)
  })

  it('gives its place back at once with keepMs 0', async () => {
    const { clock, transport, poll, control } = await setup({ keepMs: 0 })
    const polled = poll({ waitMs: 100 })
    await clock.advance(100)
    expect(await polled).toBe(false)
    expect([transport.subscription.closed, control.status().state]).toEqual([true, 'stopped'])
  })

  it('retries, dead-letters and returns true for a message that fails', async () => {
    const { clock, transport, jobs, binder } = await setup({ maxAttempts: 2, backoff: { initialMs: 0, maxMs: 0 } })
    let calls = 0
    const polled = binder.poll(jobs, () => {
      calls++
      throw new Error('away')
    })
    await drain()
    const delivery = transport.subscription.deliver(null, 1)
    await clock.advance(0)
    expect(await polled).toBe(true)
    expect([calls, delivery.end, transport.published.flat()[0]?.destination]).toEqual([2, 'acked', 'numbers.g.dlq'])
  })

  it('waits for the poll before', async () => {
    const { clock, transport, jobs, binder, got, poll } = await setup()
    const { opened, open } = gate()
    const first = binder.poll(jobs, async (n) => {
      await opened
      got.push(n)
    })
    const second = poll()
    await drain()
    transport.subscription.deliver(null, 1)
    await clock.advance(60_000)
    expect(got).toEqual([])
    open()
    expect(await first).toBe(true)
    await drain()
    transport.subscription.deliver(null, 2)
    expect(await second).toBe(true)
    expect(got).toEqual([1, 2])
  })

  it('ends with false when the binding stops or is paused, with the reason when its signal aborts', async () => {
    const { clock, transport, got, poll, control } = await setup()
    const stopped = poll()
    await drain()
    await control.stop()
    expect(await stopped).toBe(false)
    control.pause()
    const paused = poll({ waitMs: 100 })
    await clock.advance(100)
    expect(await paused).toBe(false)
    control.resume()
    const abort = new AbortController()
    const aborted = poll({ signal: abort.signal })
    await drain()
    abort.abort(new Error('enough'))
    await expect(aborted).rejects.toThrow('enough')
    transport.subscription.deliver(null, 1)
    transport.subscription.deliver(null, 2)
    expect(await poll()).toBe(true)
    expect(got).toEqual([1])
  })

  it('rejects when its subscription fails, and when the binding has halted', async () => {
    const away = await setup()
    away.transport.onSubscribe = () => Promise.reject(new Error('no answer'))
    const polled = away.poll().catch((error: unknown) => error)
    await away.clock.advance(31_000)
    expect(await polled).toMatchObject({ code: 'binder.not_ready', message: expect.stringContaining('no answer') })
    const { transport, jobs, binder, control, poll } = await setup({ onFailure: 'halt' })
    const failing = binder.poll(jobs, () => {
      throw new Error('wrong')
    })
    await drain()
    const delivery = transport.subscription.deliver(null, 1)
    expect(await failing).toBe(true)
    expect([delivery.end, control.status().state]).toEqual(['released', 'halted'])
    await expect(poll()).rejects.toMatchObject({ code: 'binder.not_ready' })
  })

  it('is for a pollable of this binder that was started', async () => {
    const { binder, jobs } = await setup()
    const other = pollable(channel, { group: 'other' })
    await expect(binder.poll(other, () => {})).rejects.toThrow('poll: expected what pollable() returned')
    const idle = createBinder({ service: 'test', transport: new ScriptedTransport(), bindings: [jobs] })
    await expect(idle.poll(jobs, () => {})).rejects.toMatchObject({ code: 'binder.closed' })
  })
})

it('a poller that has left leaves waiting messages to another member', async () => {
  const broker = memoryBroker()
  const jobs = pollable(channel, { group: 'g', keepMs: 0 })
  const got: number[] = []
  await using puller = createBinder({ service: 'puller', transport: memoryTransport({ broker }), bindings: [jobs] })
  await puller.start()
  await puller.sendBatch(channel, [1, 2, 3])
  expect(await puller.poll(jobs, (n) => void got.push(n))).toBe(true)
  const rest = sink(channel, { group: 'g' }, (n) => void got.push(n))
  await using other = createBinder({ service: 'other', transport: memoryTransport({ broker }), bindings: [rest] })
  await other.start()
  await until('the other got the rest', () => got.length === 3)
  expect(got.toSorted((a, b) => a - b)).toEqual([1, 2, 3])
})
