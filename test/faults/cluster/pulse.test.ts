import { expect, it } from 'vitest'
import { longestGap } from './pulse.ts'

it('a line’s interruption is the longest time between two moves, also one that began before the fault', () => {
  expect(longestGap([0, 10, 20, 30], 5, 25)).toBe(10)
  expect(longestGap([0, 10, 90, 100], 20, 60)).toBe(80)
  expect(longestGap([0, 90, 95], 92, 96)).toBe(5)
})

it('a line that has not moved since is interrupted to the end', () => {
  expect(longestGap([0, 10], 20, 100)).toBe(80)
  expect(longestGap([0, 30], 20, 100)).toBe(70)
  expect(longestGap([], 20, 100)).toBe(0)
})
