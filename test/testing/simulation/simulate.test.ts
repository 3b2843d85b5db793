import { type PlayedHistory, type SimulatedService, type SimulationOptions, simulate } from '@concordat/simulator'
import { createBinder, defineChannel, sink } from 'concordat/binder'
import type { TransportDelivery } from 'concordat/extension'
import { describe, expect, it } from 'vitest'
import { z } from 'zod'
import { onDelivery, settlesFirst } from '../../sim/planted.ts'
import { failureOf, IDLE } from './failure.ts'

const beats = defineChannel('beats', { payload: z.object({ n: z.number() }), groups: ['heart'], partitions: 2 })

/** Two senders that number their messages and two receivers that count them. */
function hearts(pauseMs = 200): { readonly options: Omit<SimulationOptions, 'seeds'>; readonly got: number[] } {
  const got: number[] = []
  const options: Omit<SimulationOptions, 'seeds'> = {
    services: {
      heart: {
        start: async ({ transport, logger, note, name }) => {
          const handler = sink(beats, { group: 'heart' }, async ({ n }) => {
            await new Promise((resolve) => void setTimeout(resolve, 100))
            note(`got ${n}`)
            got.push(n)
          })
          const binder = createBinder({ service: 'heart', instance: name, transport, logger, bindings: [handler] })
          await binder.start()
        },
      },
    },
    workload: async ({ client, size, sleep, between }) => {
      got.length = 0
      const binder = createBinder({ service: 'client', transport: client.transport, sends: [beats] })
      await binder.start()
      for (let n = 0; n < size * 5; n++) {
        while (!(await binder.send(beats, { n }).then(Boolean, () => false))) await sleep(100)
        await sleep(between(0, pauseMs))
      }
    },
    settled: ({ size }) => new Set(got).size === size * 5,
    invariants: { 'all arrive': () => {} },
  }
  return { options, got }
}

async function historiesOf(options: SimulationOptions): Promise<PlayedHistory[]> {
  const histories: PlayedHistory[] = []
  await simulate({ ...options, onHistory: (history) => histories.push(history) })
  return histories
}

const SEEDS = 40

describe('a history', () => {
  it('is the same for the same seed, line by line, and another one for another seed', async () => {
    const { options } = hearts()
    const first = await historiesOf({ ...options, seeds: SEEDS })
    const second = await historiesOf({ ...options, seeds: { from: 11, count: SEEDS - 10 } })
    expect(second).toEqual(first.slice(10))
    expect(new Set(first.map(({ lines }) => lines.join('\n'))).size).toBe(SEEDS)
  })

  it('has every kind of possible fault, over some seeds', async () => {
    const histories = await historiesOf({ ...hearts().options, seeds: 4 * SEEDS })
    const kinds = new Set(histories.flatMap(({ faults }) => faults.map(({ kind }) => kind)))
    expect([...kinds].toSorted()).toEqual(['delay', 'drop', 'drop-after', 'freeze', 'kill', 'kill-after', 'restart'])
  })

  it('runs nothing of an instance from its kill until it starts again', async () => {
    const histories = await historiesOf({ ...hearts().options, seeds: 4 * SEEDS, faults: ['kill', 'kill-after'] })
    let kills = 0
    for (const { lines } of histories) {
      const dead = new Set<string>()
      for (const line of lines) {
        const [, who = '', text = ''] = /^\s*[\d.]+\s+(\S+)\s+(.*)$/.exec(line) ?? []
        if (text === 'is dead') kills += dead.add(who).size
        else if (text.startsWith('starts')) dead.delete(who)
        else if (text.startsWith('got')) expect(dead).not.toContain(who)
      }
    }
    expect(kills).toBeGreaterThan(10)
  })

  it('withdraws a partition’s deliveries all at once, so that nothing behind a lost message is begun', async () => {
    let ended = 0
    const left: string[] = []
    const { options } = hearts()
    const start: SimulatedService['start'] = (instance) => {
      const lent = new Map<string, TransportDelivery[]>()
      const transport = onDelivery(instance.transport, (delivery, receiver) => {
        const partition = delivery.position.replace(/ offset .*/, '')
        lent.set(partition, [...(lent.get(partition) ?? []), delivery])
        const over = (): void => {
          const others = lent.get(partition) ?? []
          lent.delete(partition)
          ended += others.length
          for (const { signal, position } of others) if (!signal.aborted) left.push(position)
        }
        delivery.signal.addEventListener('abort', over, { once: true })
        receiver.deliver(delivery)
      })
      return options.services['heart']?.start({ ...instance, transport })
    }
    await simulate({ ...options, services: { heart: { start } }, seeds: SEEDS, faults: ['drop', 'freeze', 'restart'] })
    expect(ended).toBeGreaterThan(SEEDS)
    expect(left).toEqual([])
  })

  it('delivers a broker’s messages in order, also those behind a late delivery', async () => {
    let arrived = 0
    const overtaken: string[] = []
    const { options } = hearts(20)
    const start: SimulatedService['start'] = (instance) => {
      const last = new Map<string, number>()
      const transport = onDelivery(instance.transport, (delivery, receiver) => {
        const [, partition = '', offset = ''] = /^partition (\d+) offset (\d+)$/.exec(delivery.position) ?? []
        if (!delivery.redelivered) {
          arrived++
          if (Number(offset) < (last.get(partition) ?? 0)) overtaken.push(delivery.position)
          last.set(partition, Number(offset))
        }
        receiver.deliver(delivery)
      })
      return options.services['heart']?.start({ ...instance, transport })
    }
    await simulate({ ...options, services: { heart: { start } }, seeds: SEEDS, size: 8, faults: ['delay'] })
    expect(arrived).toBeGreaterThan(SEEDS)
    expect(overtaken).toEqual([])
  })

  it('simulates hours in a short time, and has dates and timers of its own', async () => {
    const seen: string[] = []
    const beganAt = Date.now()
    await simulate({
      seeds: 1,
      services: {
        clock: {
          instances: 1,
          start: ({ note }) => void setInterval(() => note(`it is ${new Date().toISOString()}`), 3_600_000),
        },
      },
      workload: async ({ sleep }) => {
        await sleep(100)
        seen.push(new Date().toISOString(), crypto.randomUUID(), String(Math.random()))
        await sleep(50 * 60_000)
        seen.push(String(performance.now()))
      },
      faults: [],
      invariants: { 'time goes on': ({ elapsedMs }) => void seen.push(String(elapsedMs)) },
    })
    expect(seen[0]).toBe('2026-01-01T00:00:00.100Z')
    expect(seen.slice(3)).toEqual(['3000100', '3000100'])
    expect(Date.now() - beganAt).toBeLessThan(50 * 60_000)
    expect(Date.prototype.constructor).toBe(Date)
  })
})

describe('a failure', () => {
  const counting = (acks: 'first' | 'last'): Omit<SimulationOptions, 'seeds'> => {
    const { options, got } = hearts()
    const heart = options.services['heart']
    const start: SimulatedService['start'] = (instance) =>
      heart?.start(acks === 'last' ? instance : { ...instance, transport: settlesFirst(instance.transport) })
    return {
      ...options,
      services: { heart: { start } },
      settled: async ({ sleep }) => {
        await sleep(20_000)
        return true
      },
      invariants: {
        'all arrive': ({ size }) => {
          const missing = Array.from({ length: size * 5 }, (_, n) => n).filter((n) => !got.includes(n))
          if (missing.length > 0) throw new Error(`${missing.join(', ')} did not arrive`)
        },
      },
    }
  }

  it('names the invariant, the least faults that are enough and how to play it again', async () => {
    const options = counting('first')
    const failure = await failureOf({ ...options, seeds: 200 })
    expect(failure).toMatchObject({ code: 'testing.simulation_failed', invariant: 'all arrive', retryable: false })
    expect(failure.faults.length).toBeLessThanOrEqual(2)
    expect(failure.faults.length).toBeGreaterThan(0)
    const { seed, size, replay } = failure
    const again = await failureOf({ ...options, seeds: { from: seed, count: 1 }, size, replay })
    expect(again.message).toBe(failure.message.replace(/of \d+ faults/, `of ${again.drawnFaults} faults`))
    expect(again.lines).toEqual(failure.lines)
  })

  it('is not made when the mistake is not', async () => {
    const { histories, points } = await simulate({ ...counting('last'), seeds: 60 })
    expect(histories).toBe(60)
    expect(points.map(({ point }) => point)).toContain('heart: delivery of beats/heart')
  })

  it('is an invariant that answers false, and no other answer', async () => {
    const answering = (answer: unknown): SimulationOptions => ({ ...IDLE, invariants: { equal: () => answer as void } })
    expect((await failureOf(answering(false))).message).toContain('"equal" does not hold: it answered false')
    expect((await failureOf(answering(Promise.resolve(false)))).invariant).toBe('equal')
    for (const answer of [true, undefined, null, 0, '']) await simulate(answering(answer))
  })

  it('is an answer of settled that is neither true nor false', async () => {
    const rows = [{ open: 1 }] as unknown as boolean
    const failure = await failureOf({ ...IDLE, settled: () => rows })
    expect(failure.invariant).toBe('all is settled')
    expect(failure.message).toContain('simulate.settled: expected an answer of true or false, got an array')
  })

  it('is a workload that waits for what never comes', async () => {
    const failure = await failureOf({
      seeds: 1,
      services: { idle: { start: () => {} } },
      workload: () => new Promise(() => {}),
      invariants: { none: () => {} },
    })
    expect(failure.invariant).toBe('the workload ends')
    expect(failure.message).toContain('nothing will ever happen any more')
  })
})

it('simulate refuses options that make no sense, by their names', async () => {
  const { options } = hearts()
  const refused = (changed: object): Promise<unknown> =>
    simulate({ ...options, seeds: 1, ...changed }).catch((error: unknown) => (error as Error).message)
  expect(await refused({ seeds: 0 })).toContain('simulate.seeds.count')
  expect(await refused({ size: 0 })).toContain('simulate.size')
  expect(await refused({ services: {} })).toContain('simulate.services')
  expect(await refused({ faults: ['fire'] })).toContain('simulate.faults')
  expect(await refused({ replay: 'abc:fire' })).toContain('simulate.replay')
  expect(await refused({ invariant: {} })).toContain('Did you mean "invariants"')
})
