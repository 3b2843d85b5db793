/** Commands that wait for another process, on a resource whose gate stays locked. */
import { type Clock, systemClock } from 'concordat/core'
import { localTarget, migrateParticipant } from 'concordat/saga'
import { type XaResource, xaParticipant } from 'concordat/saga/xa'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { askTarget, commandHeaders } from '../support/delivery.ts'
import { closeEmbedded, embedded, openEmbedded, stockCommands } from '../support/world.ts'

const schema = 'xa_waiting'

beforeAll(async () => {
  await openEmbedded()
  await migrateParticipant(embedded(), schema)
}, 120_000)
afterAll(closeEmbedded)

/** Held by a process that is frozen in its handler. */
const held: XaResource = {
  name: 'a frozen database',
  ready: async () => {},
  place: async () => 'shop',
  prepare: async () => ({ entered: 'busy' }),
  look: async () => ({ isFree: false, prepared: [] }),
  committed: async () => null,
  end: async () => 'gone',
  isHeld: () => false,
  old: async () => [],
}

function targetOn(resource: XaResource, clock: Clock) {
  const side = xaParticipant(stockCommands, { group: 'stock', resource }, () => {})
  return localTarget(stockCommands, side, { sql: embedded(), schema, clock })
}

test('a cancellation keeps the commands behind it waiting for ten seconds once, and for a tenth of the time after that', async () => {
  let ms = 0
  const clock: Clock = { ...systemClock, monotonic: () => ms, sleep: async (forMs) => void (ms += forMs) }
  const target = targetOn(held, clock)
  const ask = async (): Promise<number> => {
    const since = ms
    const headers = { ...commandHeaders('a', 'compensate'), 'saga-kind': 'tcc' }
    const answer = await askTarget(target, { sku: 'apple', n: 1 }, headers)
    expect(answer).toMatchObject({ reply: { status: 'failed', code: 'saga.xa_not_yet' } })
    return ms - since
  }
  let waited = await ask()
  expect(waited).toBeGreaterThan(1_000)
  expect(waited).toBeLessThanOrEqual(10_000)
  for (let n = 0; n < 10; n++) {
    ms += 6_000
    waited += await ask()
  }
  expect(waited).toBeLessThanOrEqual(10_000 + ms / 10)
})

test('a confirmation whose answered try was lost in a restore reports that, while its work is still prepared', async () => {
  let ms = 0
  const clock: Clock = { ...systemClock, monotonic: () => ms, sleep: async (forMs) => void (ms += forMs) }
  const headers = { ...commandHeaders('restored', 'confirm'), 'saga-kind': 'tcc' }
  await embedded().query(
    `INSERT INTO ${schema}.saga_barrier (saga_key, birth, reply_to, operation, status, outside, gid)
     VALUES ('order/restored/reserve', 'orders.saga-replies', 'orders.saga-replies', 'invoke', 'begun', true, 'concordat:x:1:k')`,
  )
  const target = targetOn({ ...held, look: async () => ({ isFree: false, prepared: ['concordat:x:1:k'] }) }, clock)
  const answer = await askTarget(target, { sku: 'apple', n: 1 }, headers)
  expect(answer).toMatchObject({
    reply: { status: 'failed', code: 'saga.xa_not_yet', message: expect.stringMatching(/concordat:x:1:k.*old copy/) },
  })
})
