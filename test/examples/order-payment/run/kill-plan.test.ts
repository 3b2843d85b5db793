import { expect, test } from 'vitest'
import { planKills } from '../../../../examples/order-payment/run/kill-plan.ts'

const OPTIONS = { kills: 10, seed: 7, orders: 500, services: ['orders', 'payments', 'stock'], processes: 2 }

test('the same seed chooses the same victims at the same moments', () => {
  expect(planKills(OPTIONS)).toEqual(planKills(OPTIONS))
  expect(planKills(OPTIONS)).not.toEqual(planKills({ ...OPTIONS, seed: 8 }))
})

test('the moments are spread over the run, one in each tenth', () => {
  expect(planKills(OPTIONS).map(({ at }) => Math.floor(at / 50))).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8, 9])
})

test('victims are real ones, and every service and process has its turn', () => {
  const plan = planKills({ ...OPTIONS, kills: 200 })
  expect(new Set(plan.map(({ service, index }) => `${service}-${index}`))).toEqual(
    new Set(['orders-1', 'orders-2', 'payments-1', 'payments-2', 'stock-1', 'stock-2']),
  )
})

test('too few orders for all kills are refused', () => {
  expect(planKills({ ...OPTIONS, orders: 0 })).toHaveLength(10)
})
