import { type SimulatedService, simulate } from '@concordat/simulator'
import { describe, expect, it } from 'vitest'
import { failureOf, IDLE } from './failure.ts'

const services = (start: SimulatedService['start'], instances = 1) => ({ shop: { instances, start } })

describe('a history fails', () => {
  it('when an instance does not start, with the last error of its start', async () => {
    const start = () => {
      throw new Error('no licence')
    }
    const failure = await failureOf({ ...IDLE, services: services(start) })
    expect(failure.invariant).toBe('shop-1 starts')
    expect(failure.message).toContain('"shop-1 starts" does not hold: no licence')
  })

  it('when a start uses an unknown database, with the existing names', async () => {
    const failure = await failureOf({ ...IDLE, services: services(({ sql }) => void sql('zz')) })
    expect(failure.message).toContain('sql.database: expected a name of simulate.databases, which has none, got "zz"')
  })

  it('when a start never resolves', async () => {
    const failure = await failureOf({ ...IDLE, services: services(() => new Promise(() => {})) })
    expect(failure.message).toContain('"shop-1 starts" does not hold: its start() has not resolved')
  })

  it('when only one of the instances does not start', async () => {
    const start: SimulatedService['start'] = ({ name }) => {
      if (name === 'shop-2') throw new Error('I am the second')
    }
    const failure = await failureOf({ ...IDLE, services: services(start, 3) })
    expect(failure.message).toContain('"shop-2 starts" does not hold: I am the second')
  })

  it('not later than all would have to be settled', async () => {
    const start = ({ note }: { readonly note: (text: string) => void }) => {
      note('tries')
      throw new Error('no')
    }
    const failure = await failureOf({ ...IDLE, services: services(start), settlesWithinMs: 10_000, faults: [] })
    expect(failure.lines.filter((line) => line.endsWith('tries')).length).toBeLessThan(15)
  })
})

it('the simulator names the instances that were not up when a workload waits without end', async () => {
  const failure = await failureOf({
    ...IDLE,
    services: services(() => Promise.reject(new Error('no licence'))),
    workload: async ({ sleep }) => {
      for (;;) await sleep(1_000)
    },
  })
  expect(failure.invariant).toBe('the workload ends')
  expect(failure.message).toContain('shop-1 is not up: no licence')
})

it('the simulator waits for an instance that comes up late, before its checks', async () => {
  let isUp = false
  const start: SimulatedService['start'] = async () => {
    await new Promise((resolve) => void setTimeout(resolve, 60_000))
    isUp = true
  }
  const { histories } = await simulate({
    ...IDLE,
    services: services(start),
    settled: () => {
      if (!isUp) throw new Error('asked too early')
      return true
    },
    seeds: 1,
    faults: [],
  })
  expect(histories).toBe(1)
})

it('the simulator has every instance up again before its checks, after any number of kills', async () => {
  const up = new Set<string>()
  const ups: number[] = []
  const start: SimulatedService['start'] = async ({ name }) => {
    up.delete(name)
    await new Promise((resolve) => void setTimeout(resolve, 500))
    up.add(name)
  }
  const { faults } = await simulate({
    ...IDLE,
    seeds: 300,
    services: services(start, 3),
    faults: ['kill'],
    invariants: { 'all are up': () => void ups.push(up.size) },
  })
  expect(faults).toBeGreaterThan(5)
  expect(new Set(ups)).toEqual(new Set([3]))
})
