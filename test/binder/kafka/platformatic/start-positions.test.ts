import { expect, it } from 'vitest'
import { FakeClock } from '../../../support/locks/fake-clock.ts'
import { ConnectionLost, StartPositions } from '../inside.ts'

it.each([
  ['reports a failed lookup of its offsets to the health of the transport', true, 1],
  ['does not report a lookup that its own stop has ended', false, 0],
])('a member %s', async (_, isWanted, reports) => {
  const clock = new FakeClock()
  const state = { isWanted: true }
  const told: unknown[] = []
  const failing = Promise.withResolvers<never>()
  const starts = new StartPositions({
    remembered: undefined,
    sameTopic: {} as never,
    session: { committed: () => failing.promise } as never,
    clock,
    isWanted: () => state.isWanted,
    onAnswer: (error) => told.push(error),
  })
  const found = starts.of([0])
  state.isWanted = isWanted
  failing.reject(new ConnectionLost('OffsetFetch', 'broker:9092', new Error('closed')))
  await clock.advance(1)
  expect(told).toHaveLength(reports)
  state.isWanted = false
  await clock.advance(1_000)
  expect(await found).toBeUndefined()
})
