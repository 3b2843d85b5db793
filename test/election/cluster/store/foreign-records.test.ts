/** Records that other programs wrote under our keys: refused with a code, or ignored without hiding a member. */
import { silentLogger, systemClock } from 'concordat/core'
import { expect, test } from 'vitest'
// oxlint-disable-next-line no-restricted-imports -- pure inside
import { ClusterView } from '../../../../election/cluster/membership/membership-view.ts'
// oxlint-disable-next-line no-restricted-imports -- pure inside of the store
import { logEntry as rowEntry } from '../../../../election/cluster/postgres/row-conversion.ts'
// oxlint-disable-next-line no-restricted-imports -- pure inside of the store
import { commitReply, membersReading, stateReading } from '../../../../election/cluster/redis/script-replies.ts'
// oxlint-disable-next-line no-restricted-imports -- pure inside
import { StateValues } from '../../../../election/cluster/state/state-values.ts'

const refused = expect.objectContaining({ code: 'cluster.store_refused' })

test('an invalid number in Redis is refused', () => {
  for (const read of [
    () => stateReading(['x', []]),
    () => membersReading(['x', []]),
    () => commitReply(['conflict', 'rates', 'x - 1']),
    () => commitReply(['committed', 'x', 1]),
  ])
    expect(read).toThrow(refused)
})

test('a foreign record in Redis hides no other', () => {
  const { records } = stateReading(['1', ['a', 'x - 1', 'b', '1 shop.x 1', 'c', '2 - 3']])
  expect(records).toEqual([{ key: 'c', version: 2, json: '3' }])
  const members = membersReading(['1', ['shop', 'x alive 1 2 3 4 j {}', 'ok', '3 alive 1 2 3 4 j {}']])
  expect(members.records).toMatchObject([{ instance: 'ok' }])
})

test('an instance in Redis without percent-encoding is taken unchanged', () => {
  expect(membersReading(['1', ['shop%', '3 alive 1 2 3 4 j {}']]).records).toMatchObject([{ instance: 'shop%' }])
})

test.each([
  '{',
  '{}',
  '[null]',
  '[{"kind":"put","key":"a","json":"1","instance":"i","generation":{}}]',
  '[{"kind":"put"}]',
  '[{"kind":"joined"}]',
  '[{"kind":"renamed","instance":"i","json":"{}"}]',
])('an entry %s of the log in PostgreSQL changes nothing, and delays no reader', (changes) => {
  expect(rowEntry({ revision: '3', previous: '2', changes })).toEqual({ revision: 3, previous: 2, changes: [] })
})

test('a change beside those of a later release is read', () => {
  const changes = '[{"kind":"renamed","key":"a"},{"kind":"delete","key":"b"}]'
  expect(rowEntry({ revision: '3', previous: '2', changes }).changes).toEqual([{ kind: 'delete', key: 'b' }])
})

const deep = `${'['.repeat(10_000)}${']'.repeat(10_000)}`

test.each(['{', '', deep])('a value that is no JSON, or too deep, has an error with a code', (json) => {
  const values = new StateValues<unknown, unknown>({ schema: undefined, name: 'rates' } as never)
  const record = { key: 'eur', version: 1, json }
  const error = expect.objectContaining({ code: 'cluster.data_invalid' })
  expect(() => values.decode(record)).toThrow(error)
  expect(values.decodeShared(record)).toMatchObject({ value: undefined, error })
})

test('a member whose record another program wrote is listed without metadata, and hides no other', async () => {
  const record = {
    generation: 1,
    status: 'alive',
    joinedAt: 1,
    sequence: 1,
    suspectAfterMs: 1,
    deadAfterMs: 1,
    joinId: 'j',
  }
  const records = ['{', 'null', '{"service":"shop","meta":{"zone":"a"}}'].map((json, n) => ({
    ...record,
    instance: `i${n}`,
    json,
  }))
  const store = { members: async () => ({ revision: 1, records }), follow: () => () => {} }
  const view = new ClusterView({ store, cluster: 'c', clock: systemClock, logger: silentLogger } as never, () => false)
  await view.open()
  expect(view.get().members.map(({ service, meta }) => ({ service, meta }))).toEqual([
    { service: '', meta: {} },
    { service: '', meta: {} },
    { service: 'shop', meta: { zone: 'a' } },
  ])
  view.close(new Error('the test is over'))
})
