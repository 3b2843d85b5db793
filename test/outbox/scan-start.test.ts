// oxlint-disable no-restricted-imports -- inside of the outbox: where a relay begins to read
import { expect, test } from 'vitest'
import { type Scan, ScanStart } from '../../outbox/scan-start.ts'
import { FakeClock } from '../support/locks/fake-clock.ts'

function setup() {
  const clock = new FakeClock()
  const asked: Scan[] = []
  const found = { next: '100' }
  const start = new ScanStart(clock, async (scan) => {
    asked.push(scan)
    return found.next
  })
  return { clock, asked, found, start }
}

test('everything is read while no destination is away', async () => {
  const { start, asked } = setup()
  expect(await start.find([])).toEqual({ away: [], from: '0' })
  expect(asked).toEqual([])
})

test('looks behind the backlog once a second, from where it was', async () => {
  const { start, clock, asked, found } = setup()
  expect(await start.find(['a'])).toEqual({ away: ['a'], from: '100' })
  found.next = '200'
  expect(await start.find(['a'])).toEqual({ away: ['a'], from: '100' })
  expect(start.isDue(['a'])).toBe(false)
  await clock.advance(1_000)
  expect(start.isDue(['a'])).toBe(true)
  expect(await start.find(['a', 'b'])).toEqual({ away: ['a', 'b'], from: '200' })
  expect(asked).toEqual([
    { away: ['a'], from: '0' },
    { away: ['a', 'b'], from: '100' },
  ])
})

test('reads everything when one of the destinations is back', async () => {
  const { start } = setup()
  await start.find(['a', 'b'])
  expect(start.known(['b'])).toEqual({ away: ['b'], from: '0' })
  expect(start.known([])).toEqual({ away: [], from: '0' })
})

test('begins anew within 30 s, for a row that was committed late', async () => {
  const { start, clock, asked } = setup()
  await start.find(['a'])
  for (let second = 1; second <= 30; second++) {
    await clock.advance(1_000)
    await start.find(['a'])
  }
  expect(asked.map(({ from }) => from).filter((from) => from === '0')).toHaveLength(2)
  expect(asked).toHaveLength(31)
})
