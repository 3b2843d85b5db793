/** Names of the parts that decide whether a service is ready. */
import { createBus } from 'concordat/bus'
import type { SqlClient } from 'concordat/core'
import { memoryLocks, memoryStateStore, memoryTransport } from 'concordat/memory'
import { defineSaga } from 'concordat/saga'
import { createService, type Service } from 'concordat/service'
import { expect, onTestFinished, test } from 'vitest'
import { z } from 'zod'

const sql: SqlClient = {
  query: async () => ({ rows: [], rowCount: 0 }),
  transaction: () => Promise.reject(new Error('no database')),
}
const saga = defineSaga('pay', { version: 1, input: z.object({}) }).step('charge', { pivot: true, invoke: () => 'yes' })

/** A service with every part but `prepared`; never started. */
function make(readiness?: unknown): Service {
  const service = createService({
    name: 'shop',
    sql,
    transport: memoryTransport(),
    sagas: [saga],
    locks: memoryLocks(),
    leads: { settlement: () => {} },
    schedules: { nightly: { jobs: [] } },
    cluster: { store: memoryStateStore() },
    bus: (identity) => createBus(identity),
    readiness: readiness as readonly string[] | undefined,
  })
  onTestFinished(() => service.close())
  return service
}

const PARTS =
  'binder, relay, coordinator, prepared, locks, bus, membership, leads settlement, leads nightly, schedule nightly'

test('a name that no part has is refused, with the parts that exist and the nearest', () => {
  expect(() => make(['binder', 'lock'])).toThrow(
    new TypeError(`createService.readiness[1]: expected one of ${PARTS}, got "lock". Did you mean "locks"?`),
  )
  for (const name of ['leads', 'leads other', 'schedule settlement', 'constructor', ''])
    expect(() => make([name]), name).toThrow(`createService.readiness[0]: expected one of ${PARTS}, got "${name}"`)
})

test('a text instead of a list is refused, in which a part would be found by a piece of its name', () => {
  expect(() => make('binder relay')).toThrow(
    new TypeError("createService.readiness: expected a list of parts such as ['binder', 'locks'], got a string"),
  )
  expect(() => make([7])).toThrow(
    new TypeError('createService.readiness[0]: expected the name of a part, got a number'),
  )
})

test('every part that health names may decide, and so may one that the service does not have', () => {
  const parts = Object.keys(make().health().parts)
  expect(parts).toHaveLength(PARTS.split(', ').length - 1)
  expect(() => make([...parts, 'prepared'])).not.toThrow()
  expect(() => make([])).not.toThrow()
})
