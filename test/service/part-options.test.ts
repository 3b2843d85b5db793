/** Errors about options of `parts`: they name what the caller of `createService` wrote. */
import { pgliteClient } from 'concordat/core/pglite'
import { memoryLocks, memoryStateStore, memoryTransport } from 'concordat/memory'
import { defineSaga } from 'concordat/saga'
import { createService } from 'concordat/service'
import { afterAll, expect, test } from 'vitest'
import { z } from 'zod'
import { freshPglite } from '../support/pglite.ts'

const database = freshPglite()
afterAll(() => database.close())

const noted = defineSaga('noted', { version: 1, input: z.object({}) }).step('note', {
  invoke: () => 'done',
  compensate: 'none',
})

/** A service with every part. */
const made = (parts: object) =>
  createService({
    name: 'shop',
    transport: memoryTransport(),
    sql: pgliteClient(database),
    sagas: [noted],
    locks: memoryLocks(),
    leads: { first: () => {} },
    schedules: { nightly: { jobs: [] } },
    cluster: { store: memoryStateStore() },
    parts,
  })

const PARTS = [
  'binder',
  'outbox',
  'relay',
  'inbox',
  'coordinator',
  'prepared',
  'elections',
  'schedules',
  'membership',
] as const

test.each(PARTS)('an unknown option of %s is named by its path in the options of the service', (part) => {
  expect(() => made({ [part]: { leaseMz: 1 } })).toThrow(
    expect.objectContaining({
      name: 'TypeError',
      message: expect.stringMatching(`^createService\\.parts\\.${part}\\.leaseMz: expected one of `),
    }),
  )
})

test('a wrong value of an option of a part is named by its path in the options of the service', () => {
  expect(() => made({ relay: { leaseMs: -1 } })).toThrow(
    expect.objectContaining({
      name: 'RangeError',
      message: expect.stringMatching(/^createService\.parts\.relay\.leaseMs: /),
    }),
  )
})

test('an option that the service sets itself is named by its part', () => {
  const schedules = { nightly: { jobs: 'none' as never } }
  const options = { name: 'shop', transport: memoryTransport(), locks: memoryLocks(), schedules }
  expect(() => createService({ ...options, parts: { schedules: {} } })).toThrow(/^createSchedule\.jobs: /)
})
