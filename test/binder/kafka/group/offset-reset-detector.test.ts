import { expect, it } from 'vitest'
// oxlint-disable-next-line no-restricted-imports -- pure inside of the adapter
import { beginning, OffsetResetDetector } from '../../../../binder/kafka/group/offset-reset-detector.ts'
import type { Displacement } from '../../../support/inside/binder.ts'

function setup() {
  const told: Displacement[] = []
  return { told, places: new OffsetResetDetector('orders', (each) => told.push(each)) }
}

it('messages that retention deleted before the group read them are a loss, with their number', () => {
  const { told, places } = setup()
  places.outOfRange(0, 3)
  places.outOfRange(0, 3)
  places.heard(1, 9, '9')
  places.heard(0, 45, '51')
  places.heard(0, 51, '51')
  expect(told).toHaveLength(1)
  expect(told[0]).toMatchObject({ skipped: 42, repeated: 0, isLoss: true })
  expect(told[0]?.reason).toContain('42 messages (offsets 3 to 44) were deleted before this group read them')
})

it('a position past the end repeats the stored messages', () => {
  const { told, places } = setup()
  places.outOfRange(2, 5_000)
  places.heard(2, 0, 51)
  expect(told).toEqual([{ skipped: 0, repeated: 51, isLoss: false, reason: expect.stringContaining('past the end') }])
})

it('a group without offsets on a topic with messages reports whether it reads or skips them', () => {
  const group = { topic: 'orders', groupId: 'g.orders', at: undefined, records: 5, namesake: undefined }
  expect(beginning(group)).toMatchObject({ repeated: 5, skipped: 0, isLoss: false })
  expect(beginning({ ...group, at: 'latest' })).toMatchObject({ repeated: 0, skipped: 5, isLoss: false })
  expect(beginning({ ...group, records: 0 })).toBeUndefined()
})
