import { expect, it } from 'vitest'
import { type Admin, placeGroup } from '../inside.ts'

/** Admin of one partition with an end offset that moves on, and the group's committed offset. */
function admin(events: { readonly whileLooking?: () => void } = {}) {
  const broker = { end: 100, committed: -1 }
  const fake = {
    async committed() {
      return new Map(broker.committed < 0 ? [] : [[0, broker.committed]])
    },
    async ranges() {
      events.whileLooking?.()
      return [{ partition: 0, low: 0, high: broker.end }]
    },
    async place(_group: string, _topic: string, positions: ReadonlyMap<number, number>) {
      broker.committed = positions.get(0) ?? -1
      return true
    },
  }
  return { broker, admin: fake as unknown as Admin }
}

it('a group without commits can begin at the end', async () => {
  const { broker, admin: kafka } = admin()
  await placeGroup(kafka, 'g', 'orders', 'latest')
  expect(broker.committed).toBe(100)
})

it('a late member leaves another member’s commit unchanged', async () => {
  const events: { whileLooking?: () => void } = {}
  const { broker, admin: kafka } = admin(events)
  events.whileLooking = () => {
    broker.committed = 100
    broker.end = 150
  }
  await placeGroup(kafka, 'g', 'orders', 'latest')
  expect(broker.committed).toBe(100)
})
