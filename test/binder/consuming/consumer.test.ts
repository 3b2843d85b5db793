import { type Binder, type ConsumerOptions, createBinder, defineChannel, sink, TransportError } from 'concordat/binder'
import { type Clock, systemClock } from 'concordat/core'
import { describe, expect, it, onTestFinished } from 'vitest'
import { z } from 'zod'
import { gate, until } from '../../support/until.ts'
import { ScriptedTransport } from '../support/scripted-transport.ts'

const channel = defineChannel('numbers', { payload: z.number(), groups: ['g'] })

/** A started sink whose handler calls end when the test says so. */
async function setup(
  options: Partial<ConsumerOptions> = {},
  transport: ScriptedTransport = new ScriptedTransport(),
): Promise<{ binder: Binder; transport: ScriptedTransport; begun: number[]; finish: (n: number) => void }> {
  const begun: number[] = []
  const gates = new Map<number, ReturnType<typeof gate>>()
  const gateOf = (n: number): ReturnType<typeof gate> => {
    const known = gates.get(n) ?? gate()
    gates.set(n, known)
    return known
  }
  const binding = sink(channel, { group: 'g', concurrency: 4, ...options }, async (n) => {
    begun.push(n)
    await gateOf(n).opened
  })
  const binder = createBinder({ service: 'test', transport, bindings: [binding] })
  onTestFinished(() => {
    for (let n = 0; n < 20; n++) gateOf(n).open()
    return binder.close()
  })
  await binder.start()
  // After a turn of the event loop, delivered messages begin at once.
  await new Promise(setImmediate)
  return { binder, transport, begun, finish: (n) => gateOf(n).open() }
}

const status = (binder: Binder): ReturnType<Binder['bindings']>[number] => binder.binding('numbers.g').status()

describe('messages', () => {
  it('without a key are handled side by side, those of one key are not', async () => {
    const { transport, begun } = await setup()
    for (const [n, key] of [null, null, 'k', 'k'].entries()) transport.subscription.deliver(key, n)
    await until('they began', () => begun.includes(2))
    expect(begun).toEqual([0, 1, 2])
  })

  it('messages of any key are handled one by one with concurrency 1', async () => {
    const { transport, begun, finish } = await setup({ concurrency: 1 })
    for (const [n, key] of ['a', 'b'].entries()) transport.subscription.deliver(key, n)
    expect(begun).toEqual([0])
    finish(0)
    await until('the second began', () => begun.length === 2)
  })

  it('are counted as running and queued', async () => {
    const { binder, transport } = await setup()
    for (const [n, key] of ['a', 'a', 'a', 'b'].entries()) transport.subscription.deliver(key, n)
    expect(status(binder)).toMatchObject({ running: 2, queued: 2, handled: 0 })
  })

  it('messages that were not begun are released when the binding stops, and the running one is settled', async () => {
    const { binder, transport, finish } = await setup()
    const [running, queued] = [0, 1].map((n) => transport.subscription.deliver('k', n))
    const stopped = binder.binding('numbers.g').stop()
    expect(queued?.end).toBe('released')
    finish(0)
    await stopped
    expect(running?.end).toBe('acked')
    expect(transport.subscription.closed).toBe(true)
    expect(transport.subscription.deliver('k', 2).end).toBe('released')
  })
})

describe('stop', () => {
  it('resolves for every caller, and before the close of the binder', async () => {
    const { binder, transport, finish } = await setup()
    const running = transport.subscription.deliver('k', 0)
    const control = binder.binding('numbers.g')
    const ended: string[] = []
    const all = Promise.all([
      control.stop().then(() => ended.push(`stopped, ${running.end}`)),
      control.stop().then(() => ended.push(`stopped, ${running.end}`)),
      binder.close().then(() => ended.push(`closed, ${running.end}`)),
    ])
    await new Promise(setImmediate)
    expect(ended).toEqual([])
    finish(0)
    await all
    expect(ended).toEqual(['stopped, acked', 'stopped, acked', 'closed, acked'])
  })

  it('is over before a start begins', async () => {
    const { binder, transport, finish, begun } = await setup()
    const control = binder.binding('numbers.g')
    const before = transport.subscription
    before.deliver('k', 0)
    const stopped = control.stop()
    const started = control.start()
    finish(0)
    await Promise.all([stopped, started])
    expect(status(binder).state).toBe('running')
    expect([before.closed, transport.subscription === before]).toEqual([true, false])
    transport.subscription.deliver('k', 1)
    await until('it began', () => begun.includes(1))
    expect(begun).toEqual([0, 1])
  })

  it('calls off a start that waits for one before', async () => {
    const { binder, transport, finish } = await setup()
    const control = binder.binding('numbers.g')
    transport.subscription.deliver('k', 0)
    const all = [control.stop(), control.start(), control.stop()]
    finish(0)
    await Promise.all(all)
    expect(status(binder).state).toBe('stopped')
  })
})

describe('recall', () => {
  it('releases waiting messages, and settles running ones', async () => {
    const { transport, begun, finish } = await setup()
    const [running, queued, other] = ['a', 'a', 'b'].map((key, n) => transport.subscription.deliver(key, n))
    transport.subscription.receiver.recall()
    expect([running?.end, queued?.end, other?.end]).toEqual([undefined, 'released', undefined])
    finish(0)
    finish(2)
    await until('both were settled', () => running?.end === 'acked' && other?.end === 'acked')
    expect(begun).toEqual([0, 2])
  })

  it('leaves the key free for later messages', async () => {
    const { transport, begun, finish } = await setup()
    for (const n of [0, 1, 2]) transport.subscription.deliver('k', n)
    transport.subscription.receiver.recall()
    finish(0)
    transport.subscription.deliver('k', 1)
    await until('it began', () => begun.includes(1))
    expect(begun).toEqual([0, 1])
  })
})

describe('a withdrawn loan', () => {
  it('releases its queued deliveries, and none of another loan', async () => {
    const { transport, begun, finish } = await setup()
    const loan = new AbortController()
    const [running, queued] = [0, 1].map((n) => transport.subscription.deliver('k', n, loan))
    const kept = transport.subscription.deliver('k', 2)
    loan.abort(new Error('the partition moved'))
    expect(running?.end).toBeUndefined()
    expect(queued?.end).toBe('released')
    finish(0)
    await until('the other loan had its turn', () => begun.includes(2))
    finish(2)
    await until('it was settled', () => kept.end === 'acked')
    expect(begun).toEqual([0, 2])
  })

  it('ends the retries of a running delivery without a dead letter', async () => {
    const transport = new ScriptedTransport()
    let calls = 0
    const failing = sink(channel, { group: 'g' }, () => {
      calls++
      throw new Error('always')
    })
    const binder = createBinder({ service: 'test', transport, bindings: [failing] })
    onTestFinished(() => binder.close())
    await binder.start()
    const loan = new AbortController()
    const delivery = transport.subscription.deliver('k', 0, loan)
    await until('it was tried once', () => calls === 1)
    loan.abort(new Error('the partition moved'))
    await until('it was given back', () => delivery.end === 'released')
    expect(calls).toBe(1)
    expect(transport.published).toEqual([])
  })
})

describe('a subscription', () => {
  it('a lost subscription is closed and made again, and the new one is used', async () => {
    const { binder, transport, begun } = await setup()
    const first = transport.subscription
    first.receiver.lost(new Error('connection reset'))
    expect(status(binder)).toMatchObject({ state: 'connecting', error: 'connection reset' })
    expect(binder.health().status).toBe('down')
    await until('it runs again', () => status(binder).state === 'running')
    expect(first.closed).toBe(true)
    expect(transport.subscriptions).toHaveLength(2)
    transport.subscription.deliver('k', 7)
    expect(begun).toEqual([7])
    expect(binder.health().status).toBe('up')
  })

  it('a subscription that is lost soon after it was made again waits longer each time, until one of them has lasted', async () => {
    const transport = new ScriptedTransport()
    const pauses: number[] = []
    let aheadMs = 0
    const clock: Clock = {
      now: () => systemClock.now(),
      monotonic: () => systemClock.monotonic() + aheadMs,
      sleep: (durationMs, signal) => {
        pauses.push(durationMs)
        return systemClock.sleep(0, signal)
      },
      setTimer: (durationMs, callback) => systemClock.setTimer(durationMs, callback),
    }
    const binder = createBinder({
      service: 'test',
      transport,
      clock,
      bindings: [sink(channel, { group: 'g' }, () => {})],
    })
    onTestFinished(() => binder.close())
    await binder.start()
    const lose = async (): Promise<void> => {
      const { length } = transport.subscriptions
      transport.subscription.receiver.lost(new Error('crashed'))
      await until('it is made again', () => transport.subscriptions.length > length)
      await until('it runs', () => status(binder).state === 'running')
    }
    for (let i = 0; i < 8; i++) await lose()
    expect(pauses.map((pause, i) => pause >= Math.min(5_000, 100 * 2 ** i) * 0.75)).toEqual(pauses.map(() => true))
    aheadMs = 60_000
    await lose()
    expect(pauses.at(-1)).toBeLessThan(200)
  })

  it('a partly blocked subscription reports it, is unhealthy if the block is permanent, and delivers the other messages', async () => {
    const { binder, transport, begun } = await setup()
    const { receiver } = transport.subscription
    receiver.stalled?.({ reason: new Error('partition 3 cannot be read'), isPassing: false })
    expect(status(binder)).toMatchObject({ state: 'connecting', error: 'partition 3 cannot be read' })
    expect(binder.health().status).toBe('down')
    await expect(binder.ready({ timeoutMs: 0 })).rejects.toThrow('partition 3 cannot be read')
    transport.subscription.deliver('k', 1)
    expect(begun).toEqual([1])
    receiver.stalled?.({ reason: new Error('partition 3 waits'), isPassing: true })
    expect(status(binder)).toMatchObject({ state: 'running', error: 'partition 3 waits' })
    expect(binder.health().status).toBe('up')
    receiver.stalled?.(undefined)
    expect(status(binder)).toMatchObject({ state: 'running', error: undefined })
    receiver.stalled?.({ reason: new Error('partition 3 waits'), isPassing: false })
    receiver.lost(new Error('connection reset'))
    await until('it runs again', () => status(binder).subscribed === 2)
    expect(status(binder)).toMatchObject({ state: 'running', error: undefined })
  })

  it('a subscription that is lost twice is made again once', async () => {
    const { binder, transport } = await setup()
    const first = transport.subscription
    first.receiver.lost(new Error('one'))
    first.receiver.lost(new Error('two'))
    await until('it runs again', () => status(binder).state === 'running')
    first.receiver.lost(new Error('three'))
    expect(transport.subscriptions).toHaveLength(2)
    expect(status(binder).state).toBe('running')
  })

  it('is tried again while the broker is down at start', async () => {
    const transport = new ScriptedTransport()
    let failures = 2
    transport.onSubscribe = async () => {
      if (failures-- > 0) throw new TransportError({ transport: 'scripted', kind: 'unavailable', message: 'away' })
    }
    const { binder } = await setup({}, transport)
    expect(status(binder)).toMatchObject({ state: 'connecting', error: 'away' })
    await binder.ready()
    expect(status(binder)).toMatchObject({ state: 'running', error: undefined })
  })

  it('fails start when no retry can help, and leaves nothing behind', async () => {
    const transport = new ScriptedTransport()
    transport.onSubscribe = async () =>
      Promise.reject(
        new TransportError({ transport: 'scripted', kind: 'mismatch', message: 'has 8 partitions, not 4' }),
      )
    const binder = createBinder({ service: 'test', transport, bindings: [sink(channel, { group: 'g' }, () => {})] })
    await expect(binder.start()).rejects.toThrow('has 8 partitions, not 4')
    expect(transport.closed).toBe(true)
  })

  it('stays paused over a reconnect', async () => {
    const { binder, transport } = await setup()
    binder.binding('numbers.g').pause()
    transport.subscription.receiver.lost(new Error('connection reset'))
    await until('it has subscribed again', () => transport.subscriptions.length === 2)
    await until('it is paused', () => status(binder).state === 'paused')
    expect(transport.subscription.paused).toBe(true)
    binder.binding('numbers.g').resume()
    expect(transport.subscription.paused).toBe(false)
  })

  it('a subscription that comes up after stop is closed at once', async () => {
    const transport = new ScriptedTransport()
    const asked = gate()
    const answer = gate()
    transport.onSubscribe = async () => {
      asked.open()
      await answer.opened
    }
    const binder = createBinder({ service: 'test', transport, bindings: [sink(channel, { group: 'g' }, () => {})] })
    const starting = binder.start()
    await asked.opened
    const closing = binder.close()
    answer.open()
    await expect(starting).rejects.toMatchObject({ code: 'binder.closed' })
    await closing
    await until('it was closed', () => transport.subscription.closed)
  })
})

it('ready ignores closed subscriptions and invalid counts', async () => {
  const { binder } = await setup()
  await expect(binder.ready({ timeoutMs: Number.NaN })).rejects.toThrow('ready.timeoutMs: expected a whole number')
  await expect(binder.ready({ timeout: 5 } as never)).rejects.toThrow('Did you mean "timeoutMs"?')
  await binder.ready()
  await binder.close()
  await expect(binder.ready()).rejects.toMatchObject({ code: 'binder.closed' })
})

it('ready names the bindings that do not run, with the reason', async () => {
  const transport = new ScriptedTransport()
  transport.onSubscribe = async () =>
    Promise.reject(new TransportError({ transport: 'scripted', kind: 'unavailable', message: 'no answer' }))
  const { binder } = await setup({}, transport)
  await expect(binder.ready({ timeoutMs: 0 })).rejects.toMatchObject({
    code: 'binder.not_ready',
    bindings: ['numbers.g'],
    message: expect.stringContaining('numbers.g is connecting (no answer)'),
  })
})

it('a consumer asks for prefetch and its byte budget as declared', async () => {
  const { transport } = await setup({ prefetch: 50, prefetchBytes: 1_000 })
  expect(transport.subscription.spec).toEqual({
    destination: 'numbers',
    partitions: 4,
    group: 'g',
    prefetch: 50,
    prefetchBytes: 1_000,
  })
})

describe('a binding that halts', () => {
  it('lets what else runs finish and settle, then gives its place back, and only then starts again', async () => {
    const transport = new ScriptedTransport()
    const { opened, ...hold } = gate()
    let isBroken = true
    const binding = sink(channel, { group: 'g', concurrency: 2, maxAttempts: 1, onFailure: 'halt' }, async (n) => {
      if (n === 0) await opened
      else if (isBroken) throw new Error('out of order')
    })
    const binder = createBinder({ service: 'test', transport, bindings: [binding] })
    onTestFinished(() => binder.close())
    await binder.start()
    const first = transport.subscription
    const running = first.deliver('a', 0)
    const failing = first.deliver('b', 1)
    await until('it halted', () => status(binder).state === 'halted')
    expect(failing.end).toBe('released')
    expect(first.closed).toBe(false)
    isBroken = false
    const restarted = binder.binding('numbers.g').start()
    hold.open()
    await restarted
    expect(running.end).toBe('acked')
    expect(first.closed).toBe(true)
    expect(transport.subscription).not.toBe(first)
    expect(status(binder).state).toBe('running')
  })
})

describe('a binding with autoStart: false', () => {
  it('stays stopped, healthy and ready, until it is started by its name', async () => {
    const { binder, transport, begun } = await setup({ autoStart: false })
    await binder.ready({ timeoutMs: 100 })
    expect([status(binder).state, binder.health().status, transport.subscriptions.length]).toEqual(['stopped', 'up', 0])
    await binder.binding('numbers.g').start()
    transport.subscription.deliver('k', 1)
    expect([status(binder).state, begun]).toEqual(['running', [1]])
  })

  it('takes true or false', () => {
    const wrong = sink(channel, { group: 'g', autoStart: 'no' as never }, () => {})
    expect(() => createBinder({ service: 'test', transport: new ScriptedTransport(), bindings: [wrong] })).toThrow(
      'sink("numbers").autoStart: expected true or false, got "no"',
    )
  })
})

it('a consumer counts its subscriptions to the broker', async () => {
  const { binder, transport } = await setup()
  expect(status(binder).subscribed).toBe(1)
  transport.subscription.receiver.lost(new Error('connection lost'))
  await until('it is back', () => status(binder).subscribed === 2)
  expect(status(binder).state).toBe('running')
})
