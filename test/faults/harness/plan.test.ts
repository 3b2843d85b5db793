import { expect, it } from 'vitest'
import { plan, randomOf } from './plan.ts'

const FAULTS = ['a', 'b', 'c', 'd', 'e']

function firstTen(seed: number): string[] {
  const all = plan(seed, FAULTS)
  return Array.from({ length: 10 }, () => (all.next().value as { fault: string }).fault)
}

it('a plan plays every fault once per round, in an order that only the seed decides', () => {
  expect(firstTen(1)).toEqual(firstTen(1))
  expect(firstTen(1).slice(0, 5).toSorted()).toEqual(FAULTS)
  expect(firstTen(1).slice(5).toSorted()).toEqual(FAULTS)
  expect(new Set([1, 2, 3, 4, 5].map((seed) => firstTen(seed).join(''))).size).toBeGreaterThan(3)
})

it('an episode draws its timings from the seed and the episode alone', () => {
  const draw = (seed: number, round: number): number[] => {
    const random = randomOf(seed, { round, fault: 'a' })
    return [random.between(0, 1_000), random.between(0, 1_000), random.next()]
  }
  expect(draw(1, 3)).toEqual(draw(1, 3))
  expect(draw(1, 3)).not.toEqual(draw(1, 4))
  expect(draw(1, 3)).not.toEqual(draw(2, 3))
})
