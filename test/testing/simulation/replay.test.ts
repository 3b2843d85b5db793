import { type PlayedHistory, type SimulatedService, type SimulationOptions, simulate } from '@concordat/simulator'
import { expect, it } from 'vitest'
import { failureOf, IDLE } from './failure.ts'

/** Options that put faults at timers. */
const ticking: SimulationOptions = {
  ...IDLE,
  services: { shop: { instances: 1, start: () => void setInterval(() => {}, 50) } },
}

/** The first history that has any. */
async function withFaults(): Promise<PlayedHistory> {
  const histories: PlayedHistory[] = []
  await simulate({ ...ticking, seeds: 100, onHistory: (history) => histories.push(history) })
  const found = histories.find(({ faults }) => faults.length > 0)
  if (found === undefined) throw new Error('no history has a fault')
  return found
}

const replayOf = ({ faults }: PlayedHistory): string => faults.map(({ id, kind }) => `${id}:${kind}`).join(',')

const refusalOf = (options: SimulationOptions): Promise<unknown> =>
  simulate(options).catch((error: unknown) => (error instanceof TypeError ? error.message : error))

it('a replay plays the faults of a history again, and its lines are the same', async () => {
  const history = await withFaults()
  const again: PlayedHistory[] = []
  await simulate({
    ...ticking,
    seeds: { from: history.seed, count: 1 },
    replay: replayOf(history),
    onHistory: (each) => again.push(each),
  })
  expect(again).toEqual([history])
})

it('a replay refuses a replay whose fault does not come, since its history would hold without it', async () => {
  const refusal = await refusalOf({ ...ticking, seeds: { from: 7, count: 1 }, replay: 'abc:kill' })
  expect(refusal).toContain('simulate.replay: seed 7 held, but fault abc:kill was not met: the code has changed since')
})

it('a replay names the one of several that does not come', async () => {
  const history = await withFaults()
  const seeds = { from: history.seed, count: 1 }
  const refusal = await refusalOf({ ...ticking, seeds, replay: `${replayOf(history)},abc:drop` })
  expect(refusal).toContain('but fault abc:drop was not met: ')
})

it('a replay names the kinds that can come at the place of one that cannot', async () => {
  const { seed, faults } = await withFaults()
  const [{ id, place } = { id: '', place: '' }] = faults
  const refusal = await refusalOf({ ...ticking, seeds: { from: seed, count: 1 }, replay: `${id}:forget` })
  expect(refusal).toContain(`fault ${id}:forget cannot come at ${place}, but kill, freeze can`)
})

it('a replay holds without any faults', async () => {
  expect(await simulate({ ...ticking, replay: '' })).toMatchObject({ histories: 2, faults: 0 })
})

/** Taken before any history begins, so no world knows of it. */
const realRandom = Math.random

it('a replay is not promised for a history that differs the second time, and the first difference is reported', async () => {
  const start: SimulatedService['start'] = ({ note }) => note(`drew ${realRandom()}`)
  const failure = await failureOf({
    ...IDLE,
    services: { shop: { instances: 1, start } },
    invariants: { no: () => false },
  })
  expect(failure.isRepeatable).toBe(false)
  expect(failure.message).toMatch(/not the same twice: .*: line 2 was ".* drew 0\.\d+", and then ".* drew 0\.\d+"/)
})

it('a replay is promised for any other', async () => {
  const start: SimulatedService['start'] = ({ note }) => note(`drew ${Math.random()}`)
  const failure = await failureOf({
    ...IDLE,
    services: { shop: { instances: 1, start } },
    invariants: { no: () => false },
  })
  expect(failure.isRepeatable).toBe(true)
  expect(failure.message).not.toContain('twice')
})
