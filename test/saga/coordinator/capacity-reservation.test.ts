// oxlint-disable no-restricted-imports -- tests what users do not import
import { expect, test } from 'vitest'
import { CapacityReservation } from '../../../saga/coordinator/capacity-reservation.ts'
import { SagaCapacity } from '../../../saga/coordinator/saga-capacity.ts'
import { FakeClock } from '../../support/locks/fake-clock.ts'

const LEASE_MS = 3_000

function setup() {
  const clock = new FakeClock()
  const capacity = new SagaCapacity({ size: 0 }, 1, () => {})
  capacity.open()
  const whole = capacity.free
  const reserve = (owned = false): CapacityReservation =>
    new CapacityReservation({ clock, leaseMs: LEASE_MS }, capacity, owned)
  return { clock, capacity, whole, reserve }
}

test('a plan that takes no saga gives its place back once', async () => {
  const { clock, capacity, whole, reserve } = setup()
  const reservation = reserve()
  expect(reservation.mayRun()).toBe(true)
  expect(capacity.free).toBe(whole - 1)
  reservation.planned(false)
  expect(capacity.free).toBe(whole)
  await clock.advance(LEASE_MS)
  expect(capacity.free).toBe(whole)
})

test('a place whose time is over is not given back again by the plan', async () => {
  const { clock, capacity, whole, reserve } = setup()
  const reservation = reserve()
  reservation.mayRun()
  await clock.advance(LEASE_MS)
  expect(capacity.free).toBe(whole)
  reservation.planned(false)
  expect(capacity.free).toBe(whole)
})

test('a plan that takes the saga has one place, also when the time was over before', async () => {
  const { clock, capacity, whole, reserve } = setup()
  for (const waitMs of [0, LEASE_MS]) {
    const reservation = reserve()
    reservation.mayRun()
    await clock.advance(waitMs)
    reservation.planned(true)
    await clock.advance(LEASE_MS)
    expect(capacity.free).toBe(whole - 1)
    capacity.letGo(1)
  }
})

test('asks once, and keeps no place for a saga that this process owns', () => {
  const { capacity, whole, reserve } = setup()
  const owned = reserve(true)
  expect(owned.mayRun()).toBe(true)
  owned.planned(false)
  expect(capacity.free).toBe(whole)

  const reservation = reserve()
  reservation.mayRun()
  reservation.mayRun()
  expect(capacity.free).toBe(whole - 1)
})
