import { createOperator } from '@concordat/cli'
import { undo } from 'concordat/saga/undo'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { undoWorld } from '../../saga/support/undo-world.ts'
import { closeEmbedded, embedded } from '../../saga/support/world.ts'

const sql = embedded()
const schema = 'doctor_undo'
const world = undoWorld(sql, schema)
const operator = createOperator({ sql, schema })

beforeAll(async () => {
  await world.ready()
  await operator.migrate({ by: 'ann', reason: 'test', parts: ['saga'] })
  await sql.query('CREATE TABLE account (id int PRIMARY KEY)')
}, 120_000)
afterAll(closeEmbedded)

const lines = async () =>
  (await operator.doctor()).lines.filter(({ check }) => check === 'undo').map(({ status, text }) => `${status} ${text}`)

test('says nothing of undo where nothing is protected', async () => {
  expect(await lines()).toEqual([])
})

test('finds rows that are held for long, and whether their saga has ended', async () => {
  await undo.protect(sql, ['account'], { schema })
  await world.act(['INSERT INTO account VALUES (1)'], { id: 'old' })
  expect(await lines()).toEqual(['ok protected tables: 1'])
  await sql.query(`UPDATE ${schema}.saga_undo SET created_at = created_at - interval '1 hour'`)
  const held = 'warn 1 step holds rows for over 5 min'
  expect((await lines())[1]).toMatch(new RegExp(`^${held}; the oldest, order/old/reserve, for 60 min$`))
  await sql.query(
    `INSERT INTO ${schema}.saga (name, id, version, graph_hash, birth, status, state, input, input_hash, ended_at)
     VALUES ('order', 'old', 1, '', '', 'resolved', '{}', '{}', '', now())`,
  )
  expect((await lines())[1]).toContain(`${held}, 1 of them of sagas that have ended;`)
  await world.ask('confirm', { id: 'old' })
})

test('finds a protection that is switched off', async () => {
  await sql.query('ALTER TABLE account DISABLE TRIGGER USER')
  expect(await lines()).toEqual(['warn public.account has triggers of undo that are missing or disabled'])
})
