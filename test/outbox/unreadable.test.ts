import { expect, test } from 'vitest'
import { message, until } from './support/messages.ts'
import { setupOutbox, useEmbedded } from './support/pglite.ts'

useEmbedded()

// The error quotes the first 100 UTF-16 units, which end within a surrogate pair.
const CUT = JSON.stringify(`${'x'.repeat(98)}\u{1F642}`)

const DEEP = `{"a":${'['.repeat(1_001)}${']'.repeat(1_001)}}`
const HEADERS = [
  CUT,
  DEEP,
  'null',
  '[1]',
  '"text"',
  '{"a":{"$bytes":7}}',
  '{"a":{}}',
  '{"a":[]}',
  '{"a":{"$number":true}}',
]

test.each(HEADERS.map((headers) => [headers.slice(0, 30), headers]))(
  'a row whose headers are %s is parked, blocks its own key alone, and can be dropped',
  async (_, headers) => {
    await using t = await setupOutbox({ partitions: 1 })
    await t.sql.transaction((tx) =>
      t.outbox.addEncoded(tx, [message('a1', 'a'), message('foreign', 'a'), message('a2', 'a'), message('b', 'b')]),
    )
    const table = `"${t.outbox.schema}".outbox`
    await t.sql.query(`UPDATE ${table} SET headers = $1::json WHERE id = 'foreign'`, [headers])
    const relay = t.relay()
    await relay.start()
    await until(() => t.publisher.confirmed.length === 2, 'what can be read was published')
    await until(async () => (await t.outbox.stats()).parked === 1, 'parked')
    expect(t.publisher.ids.toSorted()).toEqual(['a1', 'b'])
    await until(() => relay.health().status === 'degraded', 'health says so')
    const [parked] = await t.outbox.parked()
    expect(parked).toMatchObject({ message: { id: 'foreign' }, lastError: expect.stringContaining('headers') })
    expect(await t.outbox.drop('foreign', { by: 'ann', reason: 'not ours' })).toBe(true)
    await until(() => t.publisher.confirmed.length === 3, 'its key goes on')
    expect(t.publisher.idsOf('a')).toEqual(['a1', 'a2'])
  },
)

test.each(['', 'orders placed', '.'])(
  'a row of another writer whose aggregatetype is "%s", which no channel can have, is parked and can be dropped',
  async (name) => {
    await using t = await setupOutbox({ partitions: 1 })
    await t.sql.transaction((tx) => t.outbox.addEncoded(tx, [message('foreign', 'a'), message('a1', 'a')]))
    await t.sql.query(`UPDATE "${t.outbox.schema}".outbox SET aggregatetype = $1 WHERE id = 'foreign'`, [name])
    await using relay = t.relay()
    await relay.start()
    await until(async () => (await t.outbox.stats()).parked === 1, 'parked')
    await until(() => t.publisher.ids.includes('a1'), 'the others are published')
    expect(t.publisher.ids).not.toContain('foreign')
    const [parked] = await t.outbox.parked()
    expect(parked).toMatchObject({ message: { id: 'foreign' }, lastError: expect.stringContaining('aggregatetype') })
    expect(await t.outbox.drop('foreign', { by: 'ann', reason: 'not ours' })).toBe(true)
    expect((await t.outbox.stats()).parked).toBe(0)
  },
)

test('a message to a destination that no channel can have is refused as it is added', async () => {
  await using t = await setupOutbox({ partitions: 1 })
  const adding = t.sql.transaction((tx) => t.outbox.addEncoded(tx, [message('a1', 'a', { destination: '' })]))
  await expect(adding).rejects.toThrow(/^outbox\.add: destination: expected a name of 1 to 400 characters/)
  expect((await t.outbox.stats()).pending).toBe(0)
})
