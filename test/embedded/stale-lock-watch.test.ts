import { HOUR, SECOND, systemClock } from 'concordat/core'
import { expect, it } from 'vitest'
import { StaleLockWatch } from './inside.ts'

function setup(everyMs: number) {
  let passedMs = 0
  const watch = new StaleLockWatch({ ...systemClock, monotonic: () => passedMs })
  const look = (touchedAt: number, text = 'a') => {
    passedMs += everyMs
    return watch.look('lock', text, touchedAt)
  }
  return { look, seconds: () => passedMs / SECOND }
}

it('the watch of a lock file takes a lock that is not touched for dead after 20 seconds', () => {
  const { look, seconds } = setup(SECOND / 2)
  while (look(7) === 'unknown');
  expect(look(7)).toBe('dead')
  expect(seconds()).toBeCloseTo(21, 0)
})

it('a touched lock counts as alive, with any clock, until it is untouched again', () => {
  const { look } = setup(SECOND)
  expect(look(7)).toBe('unknown')
  expect(look(5)).toBe('alive')
  for (let i = 0; i < 19; i++) expect(look(5)).toBe('alive')
  expect(look(5)).toBe('dead')
})

it('the watch of a lock file begins anew with another lock', () => {
  const { look } = setup(SECOND)
  for (let i = 0; i < 19; i++) look(7)
  for (let i = 0; i < 20; i++) expect(look(7, 'b')).toBe('unknown')
  expect(look(7, 'b')).toBe('dead')
})

it('each check counts at most a second, since a paused process has seen nothing', () => {
  const { look } = setup(HOUR)
  for (let i = 0; i < 20; i++) expect(look(7)).toBe('unknown')
  expect(look(7)).toBe('dead')
})
