/** Commands that wait for another process, on a resource whose gate stays locked. */
import { type Clock, systemClock } from 'concordat/core'
import { memoryTransport } from 'concordat/memory'
import { defineSaga, localTarget, migrateParticipant, Refusal } from 'concordat/saga'
import { type XaResource, xaParticipant } from 'concordat/saga/xa'
import { createService } from 'concordat/service'
import { afterAll, beforeAll, expect, onTestFinished, test } from 'vitest'
import { z } from 'zod'
import { LogLines } from '../../support/log-lines.ts'
import { until } from '../../support/until.ts'
import { askTarget, commandHeaders } from '../support/delivery.ts'
import { closeEmbedded, embedded, FAST, openEmbedded, stockCommands } from '../support/world.ts'

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

/** Inserts rows of the participant's barrier for the saga `id`, with their status by operation. */
async function keep(id: string, rows: Readonly<Record<string, string>>, gid: string | null): Promise<void> {
  for (const [operation, status] of Object.entries(rows))
    await embedded().query(
      `INSERT INTO ${schema}.saga_barrier (saga_key, birth, reply_to, operation, status, outside, gid)
       VALUES ($1, 'orders.saga-replies', 'orders.saga-replies', $2, $3, true, $4)`,
      [`order/${id}/reserve`, operation, status, operation === 'invoke' ? gid : null],
    )
}

const free: XaResource = { ...held, look: async () => ({ isFree: true, prepared: [] }) }

test.each([
  ['its record and that of its try are all that is left', { invoke: 'ok', confirm: 'ok' }],
  ['its record is all that is left', { confirm: 'ok' }],
])('a confirmation is repeated when %s', async (what, rows) => {
  const id = what.replaceAll(/\W/g, '-')
  await keep(id, rows, `concordat:${id}:1:k`)
  const headers = { ...commandHeaders(id, 'confirm'), 'saga-kind': 'tcc' }
  const answer = await askTarget(targetOn(free, systemClock), { sku: 'apple', n: 1 }, headers)
  expect(answer).toMatchObject({ reply: { status: 'ok' } })
})

test('what the resource committed is confirmed, although the participant was restored from a copy without it', async () => {
  const resource: XaResource = { ...free, committed: async (base) => `${base}1:k` }
  const ask = (operation: 'confirm' | 'compensate') =>
    askTarget(
      targetOn(resource, systemClock),
      { sku: 'apple', n: 1 },
      {
        ...commandHeaders('copied', operation),
        'saga-kind': 'tcc',
      },
    )
  expect(await ask('confirm')).toMatchObject({ reply: { status: 'ok' } })
  expect(await ask('confirm')).toMatchObject({ reply: { status: 'ok' } })
  expect(await ask('compensate')).toMatchObject({ reply: { status: 'failed', code: 'saga.confirmed' } })
})

test.each(['confirm', 'compensate'] as const)(
  'a %s that another process holds up uses no attempt, and health and the log report why it waits',
  async (operation) => {
    let ms = 0
    let isHeld = true
    let gid = ''
    const clock: Clock = { ...systemClock, monotonic: () => ms, sleep: async (forMs) => void (ms += forMs) }
    const resource: XaResource = {
      ...held,
      prepare: async (call, work) => {
        gid = call.gid
        return { entered: 'in', result: await work(undefined) }
      },
      look: async () => ({ isFree: !isHeld, prepared: [] }),
      end: async () => (isHeld ? 'busy' : 'ended'),
      committed: async () => (operation === 'confirm' && !isHeld ? gid : null),
    }
    const log = new LogLines()
    const side = xaParticipant(stockCommands, { group: 'stock', resource }, () => {})
    const sql = embedded()
    const to = localTarget(stockCommands, side, { sql, schema, clock, logger: log.logger })
    const retry = { ...FAST }
    const saga = defineSaga(`frozen-${operation}`, { version: 1, input: z.object({}) })
      .tcc('reserve', { to, request: () => ({ sku: 'apple', n: 1 }), compensationRetry: retry, confirmRetry: retry })
      .step('decide', {
        invoke: () => {
          if (operation === 'compensate') throw new Refusal('no', 'not this time')
        },
        compensate: 'none',
      })
    const { logger } = log
    const service = createService({ name: 'shop', schema, sql, transport: memoryTransport(), sagas: [saga], logger })
    onTestFinished(() => service.close())
    await service.start()
    const run = await service.run(saga, { id: '1', input: {} })
    const waiting = () => log.lines.filter((line) => line.message === 'saga command not done').length
    await until('it was asked more often than a step is', () => waiting() > 12, 20_000)
    const why = operation === 'confirm' ? 'cannot be ended yet on a frozen database' : 'is still being done'
    expect(service.health()).toMatchObject({
      status: 'degraded',
      ready: true,
      parts: { coordinator: { status: 'degraded', detail: expect.stringContaining(why) } },
    })
    expect(service.coordinator?.health().late).toMatchObject([{ step: 'reserve', operation, count: 1 }])
    isHeld = false
    const status = operation === 'confirm' ? 'completed' : 'compensated'
    expect(await run.outcome({ timeoutMs: 20_000 })).toMatchObject({ status })
    expect(service.health().parts['coordinator']).toMatchObject({ status: 'up' })
  },
)
