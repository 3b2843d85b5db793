import { type SimulationOptions, simulate } from '@concordat/simulator'
import { describe, expect, it, onTestFinished } from 'vitest'
import { failureOf, IDLE } from './failure.ts'

const EVENTS = ['unhandledRejection', 'uncaughtException'] as const

/** A test runner listens for these, too, and would fail the test. */
function withoutOthers(): void {
  const others = EVENTS.map((event) => [event, process.rawListeners(event)] as const)
  for (const event of EVENTS) process.removeAllListeners(event)
  onTestFinished(() => {
    for (const [event, listeners] of others) {
      process.removeAllListeners(event)
      for (const listener of listeners) process.on(event, listener as () => void)
    }
  })
}

const starting = (start: () => void): SimulationOptions => ({ ...IDLE, services: { shop: { instances: 1, start } } })
const throws = (): never => {
  throw new Error('nobody catches me')
}

describe('a history fails', () => {
  const ways: readonly [string, () => unknown][] = [
    ['setImmediate', () => setImmediate(throws)],
    ['queueMicrotask', () => queueMicrotask(throws)],
    ['process.nextTick', () => process.nextTick(throws)],
    ['setTimeout', () => setTimeout(throws, 5)],
  ]
  it.each(ways)('when a service throws in %s, with its seed', async (_, begin) => {
    withoutOthers()
    const failure = await failureOf(starting(() => void begin()))
    expect(failure.message).toMatch(/^seed 1: "no error is uncaught" does not hold: nobody catches me/)
  })

  it('when a rejection of a service is not handled', async () => {
    withoutOthers()
    const failure = await failureOf(starting(() => void Promise.reject(new Error('nobody catches me'))))
    expect(failure.invariant).toBe('no rejection is unhandled')
  })
})

it('the simulator leaves errors of other code to its own listeners', async () => {
  withoutOthers()
  const heard: unknown[] = []
  for (const event of EVENTS) process.on(event, (reason) => heard.push((reason as Error).message))
  const playing = simulate({ ...IDLE, seeds: 100 })
  await new Promise((resolve) => void setImmediate(resolve))
  setImmediate(throws)
  void Promise.reject(new Error('nor me'))
  expect(await playing).toMatchObject({ histories: 100 })
  expect(new Set(heard)).toEqual(new Set(['nobody catches me', 'nor me']))
})

it('the simulator listens no longer than histories are played', async () => {
  const count = (): readonly number[] => EVENTS.map((event) => process.listenerCount(event))
  const before = count()
  await simulate(IDLE)
  expect(count()).toEqual(before)
})
