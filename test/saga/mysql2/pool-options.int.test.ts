/**
 * A pool whose options change the driver's row format: they apply to the handler's statements, and ours do not need
 * them.
 */
import { mysqlResource } from '@concordat/mysql'
import mysql from 'mysql2/promise'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { describeWith, serverUrl } from '../../support/servers/index.ts'
import { type MariaDatabase, openMaria } from '../support/maria.ts'

describeWith(['mariadb'], 'a pool on MariaDB', () => {
  const database = `pool_options_${process.pid}`
  let maria: MariaDatabase
  let ids = 0

  beforeAll(async () => {
    maria = await openMaria(serverUrl('mariadb') as string, database)
  })
  afterAll(async () => {
    await maria.endByHand('ROLLBACK', 'concordat:')
    await maria.pool.query(`DROP DATABASE ${database}`)
    await maria.end()
  })

  test.each<[string, mysql.PoolOptions]>([
    ['large numbers as text', { supportBigNumbers: true, bigNumberStrings: true }],
    ['rows as lists', { rowsAsArray: true }],
    ['tables within rows', { nestTables: true }],
    ['the table before each name', { nestTables: '_' }],
    ['values as bytes', { typeCast: false }],
    ['values by a function', { typeCast: (field) => field.string() }],
    ['dates as text', { dateStrings: true }],
    ['names of placeholders', { namedPlaceholders: true }],
  ])('that returns %s can be prepared on', async (_, options) => {
    const pool = mysql.createPool({ uri: maria.url, gracefulEnd: true, ...options })
    try {
      const resource = mysqlResource(pool)
      await resource.ready()
      await resource.migrate()
      expect(await resource.place()).toBe(database)
      const whose = `concordat:${String(++ids).padStart(22, '0')}:`
      const gid = `${whose}1:order/${ids}/step`
      const call = {
        whose,
        key: `order/${ids}/step`,
        gid,
        lockTimeoutMs: 1_000,
        idleMs: 60_000,
        isCurrent: async () => true,
      }
      const passage = await resource.prepare(call, async (tx) => (await tx.query('SELECT 1 AS one')).rowCount)
      expect(passage).toEqual({ entered: 'in', result: 1 })
      expect(await resource.look(whose)).toEqual({ isFree: false, prepared: [gid] })
      expect(await resource.old(0)).toEqual([expect.objectContaining({ gid, key: `order/${ids}/step` })])
      expect(await resource.end('COMMIT', gid)).toBe('ended')
      expect(await resource.committed(whose)).toBe(gid)
      expect(await resource.look(whose)).toEqual({ isFree: true, prepared: [] })
      expect(await resource.prepare(call, async () => {})).toEqual({ entered: 'committed' })
      await maria.pool.query('UPDATE concordat_xa SET decided_at = decided_at - INTERVAL 9 DAY WHERE whose = ?', [
        whose,
      ])
      expect(await resource.purge({ olderThanMs: 8 * 86_400_000 })).toBe(1)
    } finally {
      await pool.end()
    }
  })
})
