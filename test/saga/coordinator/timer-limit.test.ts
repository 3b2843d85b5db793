import { DAY } from 'concordat/core'
import { pgliteClient } from 'concordat/core/pglite'
import { memoryTransport } from 'concordat/memory'
import { defineSaga } from 'concordat/saga'
import { createService } from 'concordat/service'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { z } from 'zod'
import { uniqueName } from '../../outbox/support/messages.ts'
import { freshPglite } from '../../support/pglite.ts'

const database = freshPglite()
const sql = pgliteClient(database)
beforeAll(() => database.waitReady, 180_000)
afterAll(() => database.close())

const input = z.object({ days: z.number() })

test('a timer beyond the database’s range turns the saga back, and repeats no step before it', async () => {
  const calls: string[] = []
  const saga = defineSaga('rent', { version: 1, input })
    .step('book', { invoke: () => void calls.push('book'), compensate: () => void calls.push('unbook') })
    .timer('use', { delay: (asked) => (asked.input as { days: number }).days * DAY })
  const transport = memoryTransport()
  const service = createService({ name: 'shop', schema: uniqueName('timer'), sql, transport, sagas: [saga] })
  await service.start()
  for (const days of [1e9, Number.POSITIVE_INFINITY, Number.MAX_VALUE]) {
    calls.length = 0
    const run = await service.coordinator?.start(saga, { id: `a-${days}`, input: { days: Math.min(days, 1e300) } })
    expect(await run?.outcome()).toMatchObject({ status: 'compensated' })
    expect(calls).toEqual(['book', 'unbook'])
  }
  const long = await service.run(saga, { id: 'long', input: { days: 3_000_000 } })
  expect((await long.report()).status).toBe('running')
  await service.close()
})

test('a timer with an invalid instant turns the saga back with that value', async () => {
  const moments: Readonly<Record<string, number | Date>> = {
    'Invalid Date': new Date(Number.NaN),
    '"+275760-09-13T00:00:00.000Z"': new Date(8.64e15),
    '8640000000000000': 8.64e15,
    NaN: Number.NaN,
    '-Infinity': Number.NEGATIVE_INFINITY,
  }
  const saga = defineSaga('moment', { version: 1, input: z.object({ of: z.string() }) }).timer('use', {
    delay: ({ input: { of } }) => moments[of] as Date,
  })
  const transport = memoryTransport()
  const service = createService({ name: 'shop', schema: uniqueName('timer'), sql, transport, sagas: [saga] })
  await service.start()
  for (const of of Object.keys(moments)) {
    const { status, failure } = (await (await service.run(saga, { id: of, input: { of } })).outcome()) as never as {
      status: string
      failure: { message: string }
    }
    expect(status).toBe('compensated')
    expect(failure.message).toMatch(/^timer\("use"\)\.delay: expected (?:at most|finite milliseconds)/)
    expect(failure.message.endsWith(`, got ${of}`)).toBe(true)
  }
  await service.close()
})

test('a timer that is declared with too long a delay is refused', () => {
  expect(() => defineSaga('rent', { version: 1, input }).timer('use', { delay: 1e9 * DAY })).toThrow(
    /timer\("use"\)\.delay: expected milliseconds from 0 to \d+/,
  )
})
