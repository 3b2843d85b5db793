import { createOperator } from '@concordat/cli'
import { undo } from 'concordat/saga/undo'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { undoWorld } from '../saga/support/undo-world.ts'
import { closeEmbedded, embedded } from '../saga/support/world.ts'

const sql = embedded()
const schema = 'operate_undo'
const world = undoWorld(sql, schema)
const operator = createOperator({ sql, schema })
const note = { by: 'ann', reason: 'put right by hand' }
const target = { saga: 'order', id: 's', step: 'reserve' }

beforeAll(async () => {
  await world.ready()
  await operator.migrate({ ...note, parts: ['operator'] })
  await sql.query('CREATE TABLE account (id text PRIMARY KEY, cents int)')
  await sql.query(`INSERT INTO account VALUES ('a', 1)`)
  await undo.protect(sql, ['account'], { schema })
}, 120_000)
afterAll(closeEmbedded)

describe('branches of undo', () => {
  test('are listed, shown and settled, with who and why in the audit', async () => {
    await world.act([`UPDATE account SET cents = 5 WHERE id = 'a'`])
    expect(await operator.undo.open()).toMatchObject([{ ...target, changes: 1, tables: ['account'] }])
    expect(await operator.undo.differences(target)).toEqual([])
    await operator.undo.settle(target, 'restore', note)
    expect(await operator.undo.open()).toEqual([])
    expect(await world.rows('account')).toEqual(['(a,1)'])
    const [line] = await operator.audit({ limit: 1 })
    expect(line).toMatchObject({ part: 'undo', action: 'restore', target: 'order/s/reserve', ...note, outcome: 'done' })
  })

  test('a missing branch of undo is reported, and the try is in the audit', async () => {
    await expect(operator.undo.settle(target, 'keep', note)).rejects.toMatchObject({ code: 'saga.undo_not_found' })
    expect(await operator.audit({ limit: 1 })).toMatchObject([{ action: 'keep', outcome: 'saga.undo_not_found' }])
  })

  test('are not settled without a reason', async () => {
    await expect(operator.undo.settle(target, 'keep', { by: 'ann', reason: '' })).rejects.toThrow(/reason/)
  })
})
