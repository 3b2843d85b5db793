// oxlint-disable no-restricted-imports -- inside of the doctor: groups of a broker that does not answer
import { TransportError } from 'concordat/binder'
import type { SqlClient } from 'concordat/core'
import { expect, test } from 'vitest'
import type { DeadLetterAdmin, DeadLetterPlace } from '../../../packages/cli/dead-letter-types.ts'
import { examineGroups } from '../../../packages/cli/doctor/groups.ts'

const sql = { query: async () => ({ rows: [] }), transaction: async () => {} } as unknown as SqlClient
const places = Array.from({ length: 40 }, (_, n) => ({ channel: `c${n}`, group: 'g' }))

function examine(backlog: DeadLetterAdmin['backlog']) {
  const letters = { backlog, count: async () => 0, besideLog: async () => places }
  const rest = { instances: undefined, hasMessages: true, hasBroker: true, tables: new Set<string>() }
  return examineGroups({ sql, schema: 'concordat', letters, places, ...rest })
}

test('groups of a transport that does not answer are asked for side by side, and no more after the first silence', async () => {
  const asked: DeadLetterPlace[] = []
  const silence = Promise.withResolvers<never>()
  const examined = examine((place) => {
    asked.push(place)
    return silence.promise
  })
  await new Promise((resolve) => setImmediate(resolve))
  const together = asked.length
  expect(together).toBeGreaterThan(1)
  silence.reject(new TransportError({ transport: 'kafka', kind: 'timeout', message: 'no answer within 60 s' }))
  const lines = await examined
  expect(asked).toHaveLength(together)
  expect(lines.filter(({ text }) => text.includes('was not counted: no answer within 60 s'))).toHaveLength(together)
  expect(lines).toContainEqual({
    status: 'unknown',
    check: 'groups',
    text: `${40 - together} more were not asked for, since the transport does not answer`,
    remedy: 'npx concordat lag',
  })
})

test('a group that is not counted does not keep the others from being counted, in their order', async () => {
  const lines = await examine(async ({ channel }) => {
    if (channel === 'c3') throw new TransportError({ transport: 'kafka', kind: 'unavailable', message: 'no leader' })
    return { lag: channel === 'c1' || channel === 'c39' ? 20_000 : 0, isReadyOnly: false }
  })
  const said = lines.map(({ text }) => text).filter((text) => /^c\d+\.g/.test(text))
  expect(said).toEqual(['c1.g is 20000 behind', 'c3.g was not counted: no leader', 'c39.g is 20000 behind'])
})
