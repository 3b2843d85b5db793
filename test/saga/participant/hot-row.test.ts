import { migrateParticipant } from 'concordat/saga'
import { undo, undoParticipant } from 'concordat/saga/undo'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { fightForRow, hotMoves, move } from '../support/hot-row.ts'
import { closeEmbedded, embedded } from '../support/world.ts'

const sql = embedded()
const schema = 'hot_row'

beforeAll(async () => {
  await migrateParticipant(sql, schema)
  await sql.query('CREATE TABLE hot (id text PRIMARY KEY, n int NOT NULL)')
  await undo.protect(sql, ['hot'], { schema })
}, 120_000)
afterAll(closeEmbedded)

describe('undo, with sagas that contend for one row', () => {
  test.each([1, 2, 8])('confirms the holder before those that wait for it (concurrency %i)', async (concurrency) => {
    const participant = undoParticipant(hotMoves, { group: 'hot', concurrency }, move)
    expect(await fightForRow({ sql, schema, sagas: 16, participant })).toEqual({ ends: ['completed'], total: 16 })
  })
})
