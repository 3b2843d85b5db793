// oxlint-disable no-restricted-imports -- inside of the coordinator: the limits of the calls that are open
import { silentLogger } from 'concordat/core'
import { expect, test } from 'vitest'
import { TargetLine } from '../../../saga/coordinator/target-line.ts'
import type { DirectTarget } from '../../../saga/direct/target.ts'
import { FakeClock } from '../../support/locks/fake-clock.ts'

const MIB = 1_024 * 1_024

function line(): TargetLine {
  const target = { channel: { name: 'bank' }, asking: { concurrency: 1 } } as unknown as DirectTarget
  return new TargetLine(target, new FakeClock(), silentLogger)
}

test('a call that is larger than the limit of all enters alone, and keeps out others until it leaves', () => {
  const calls = line()
  expect(calls.enter(65 * MIB)).toBe(true)
  expect(calls.enter(1)).toBe(false)
  calls.leave(65 * MIB)
  expect(calls.enter(1)).toBe(true)
  expect(calls.enter(65 * MIB)).toBe(false)
})

test('calls enter up to the limit of all bytes', () => {
  const calls = line()
  expect([calls.enter(1), calls.enter(64 * MIB - 1), calls.enter(1)]).toEqual([true, true, false])
})

test('calls without bytes enter up to the limit of their number', () => {
  const calls = line()
  const entered = Array.from({ length: 10_001 }, () => calls.enter(0))
  expect(entered.indexOf(false)).toBe(10_000)
})
