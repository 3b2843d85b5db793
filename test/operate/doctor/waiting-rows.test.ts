// oxlint-disable no-restricted-imports -- what the doctor says of counts, without as many rows
import { expect, test } from 'vitest'
import { examineWaitingRows } from '../../../packages/cli/doctor/waiting-rows.ts'

/** The line on the outbox, an hour after its oldest row. */
async function outboxWith(counts: { readonly pending: number; readonly parked: number }) {
  const stats = async () => ({ ...counts, oldestAgeMs: 3_600_000, blockedKeys: 1 })
  const records = { outbox: { stats, failing: async () => [] }, sequencesBehind: async () => [] }
  const lines = await examineWaitingRows({ records, tables: new Set(['outbox']) } as never)
  return lines.find(({ check }) => check === 'outbox')
}

const REMEDY =
  'settle what is parked first, it holds back what has its key: npx concordat outbox list shows it; outbox retry ID sends it again, outbox drop ID gives it up'

test.each([
  [
    'more parked messages than are counted',
    { pending: 100_000, parked: 150_000 },
    '100000+ pending, 150000 of them parked',
  ],
  [
    'as many parked messages as are counted',
    { pending: 100_000, parked: 100_000 },
    '100000+ pending, 100000 of them parked',
  ],
  ['parked messages and others', { pending: 30, parked: 10 }, '30 pending, 10 of them parked'],
])('an outbox with %s says how many are parked, and how to settle them', async (_title, counts, text) => {
  expect(await outboxWith(counts)).toMatchObject({ status: 'warn', text: `${text}, the oldest 60 min`, remedy: REMEDY })
})

test('an outbox in which all messages are parked has none that waits for a relay', async () => {
  expect(await outboxWith({ pending: 10, parked: 10 })).toMatchObject({ status: 'ok' })
})
