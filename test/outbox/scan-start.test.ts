// oxlint-disable no-restricted-imports -- inside of the outbox: where a relay begins to read
import { expect, test } from 'vitest'
import { type PassedRows, type PassRequest, ScanStart } from '../../outbox/scan-start.ts'
import { FakeClock } from '../support/locks/fake-clock.ts'

const SECOND = 1_000

/** A backlog that the test moves on. */
function setup() {
  const clock = new FakeClock()
  const asked: PassRequest[] = []
  const backlog = { last: 100 as number | undefined, oldestRunning: 5n, own: 10n, parts: 1 }
  const start = new ScanStart(clock, async (scan): Promise<PassedRows> => {
    asked.push(scan)
    const { last, oldestRunning, own, parts } = backlog
    const hasMore = asked.length % parts !== 0
    return { last: last === undefined ? undefined : row(last), hasMore, oldestRunning, own }
  })
  const pass = async (away: readonly string[] = ['a']): Promise<string | undefined> => {
    await clock.advance(SECOND)
    return (await start.find(away)).after?.seq
  }
  return { clock, asked, backlog, start, pass }
}

function row(seq: number) {
  return { seq: String(seq), id: `m${seq}` }
}

test('everything is read while no destination is away', async () => {
  const { start, asked } = setup()
  expect(await start.find([])).toEqual({ away: [] })
  expect(asked).toEqual([])
})

test('reading begins after the backlog when all transactions that ran during a pass are over, and another pass has found none of their rows', async () => {
  const { backlog, pass, start, asked } = setup()
  expect(await pass()).toBeUndefined()
  expect(await pass()).toBeUndefined()
  backlog.oldestRunning = 10n
  expect(await start.find(['a'])).toEqual({ away: ['a'], after: undefined })
  expect(await pass()).toBe('100')
  expect(asked).toHaveLength(3)
})

test('the backlog is read again only when the transactions that ran during a pass are over', async () => {
  const { backlog, pass, asked } = setup()
  await pass()
  await pass()
  backlog.oldestRunning = 10n
  await pass()
  expect(asked.map(({ since }) => since)).toEqual([undefined, 10n, 10n])
})

test('a row that was committed late ends the backlog', async () => {
  const { backlog, pass } = setup()
  await pass()
  Object.assign(backlog, { last: 40, oldestRunning: 10n, own: 20n })
  expect(await pass()).toBe('40')
  Object.assign(backlog, { last: undefined, oldestRunning: 20n, own: 30n })
  expect(await pass()).toBe('40')
})

test('a row that was committed late at the front leaves reading at the first row', async () => {
  const { backlog, pass } = setup()
  await pass()
  Object.assign(backlog, { last: undefined, oldestRunning: 10n })
  expect(await pass()).toBeUndefined()
})

test('reads on from where it is, and for more destinations as well', async () => {
  const { backlog, pass, asked } = setup()
  await pass()
  Object.assign(backlog, { last: 200, oldestRunning: 10n, own: 20n })
  expect(await pass()).toBe('100')
  Object.assign(backlog, { last: 300, oldestRunning: 20n, own: 30n })
  expect(await pass(['a', 'b'])).toBe('200')
  expect(asked.map(({ after }) => after?.seq)).toEqual([undefined, undefined, '100'])
})

test('reads everything when one of the destinations is back', async () => {
  const { backlog, pass, start } = setup()
  await pass(['a', 'b'])
  backlog.oldestRunning = 10n
  expect(await pass(['a', 'b'])).toBe('100')
  expect(start.known(['b']).after).toBeUndefined()
  expect(start.known([]).after).toBeUndefined()
})

test('a backlog that takes several parts is read twice at once', async () => {
  const { backlog, pass, asked } = setup()
  Object.assign(backlog, { parts: 3, oldestRunning: 10n })
  expect(await pass()).toBe('100')
  expect(asked).toHaveLength(6)
})

test('begins anew after ten minutes', async () => {
  const { backlog, pass, asked, clock } = setup()
  backlog.oldestRunning = 10n
  await pass()
  await pass()
  await clock.advance(600 * SECOND)
  expect(await pass()).toBeUndefined()
  expect(asked.at(-1)).toEqual({ away: ['a'], after: undefined })
})
