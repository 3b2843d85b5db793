/** The gates on MariaDB beside readers: a call that must not wait for rows never waits for one of ours. */
import { setTimeout as pause } from 'node:timers/promises'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { describeWith, serverUrl } from '../../support/servers/index.ts'
import { attachMaria, type MariaDatabase, openMaria } from '../support/maria.ts'

describeWith(['mariadb'], 'the gates on MariaDB', () => {
  let maria: MariaDatabase
  let ids = 0

  beforeAll(async () => {
    maria = await openMaria(serverUrl('mariadb') as string, `gates_${process.pid}`)
  })
  afterAll(async () => {
    await maria.endByHand('ROLLBACK', 'concordat:')
    await maria.pool.query(`DROP DATABASE gates_${process.pid}`)
    await maria.end()
  })

  /** A call that gives up at the first locked row. */
  function impatient() {
    const whose = `concordat:${String(++ids).padStart(22, '0')}:`
    return { whose, key: `order/${ids}/step`, gid: `${whose}1:order/${ids}/step`, lockTimeoutMs: 50, idleMs: 60_000 }
  }

  const prepare = (call: ReturnType<typeof impatient>): Promise<unknown> =>
    maria.resource.prepare({ ...call, isCurrent: async () => true }, (tx) => tx.query('SELECT 1'))

  test('are made though another session has locked the place of the row for a moment', async () => {
    const call = impatient()
    const other = await maria.pool.getConnection()
    try {
      await other.query('START TRANSACTION')
      await other.query('SELECT 1 FROM concordat_xa WHERE whose = ? FOR UPDATE', [call.whose])
      const prepared = prepare(call)
      await pause(100)
      await other.query('ROLLBACK')
      await expect(prepared).resolves.toMatchObject({ entered: 'in' })
    } finally {
      other.release()
    }
  })

  test('leave no session settings of a refused handler to the next user of its connection', async () => {
    const call = { ...impatient(), isCurrent: async () => true }
    const one = attachMaria(maria.url, 1)
    try {
      const refused = one.resource.prepare(call, async (tx) => {
        await tx.query("SET @tenant = 'ann', SESSION sql_mode = ''")
        throw new Error('no')
      })
      await expect(refused).rejects.toThrow('no')
      const found = await one.rows("SELECT @tenant AS tenant, @@sql_mode <> '' AS isStrict")
      expect(found).toEqual([{ tenant: null, isStrict: 1 }])
      expect(await one.resource.prepare(call, (tx) => tx.query('SELECT 1'))).toMatchObject({ entered: 'in' })
    } finally {
      await one.end()
    }
  })

  test('gates that are read do not block one that is being made', async () => {
    for (let round = 0; round < 20; round++) {
      const calls = [impatient(), impatient()]
      let isOver = false
      const looks = calls.map(async ({ whose }) => {
        while (!isOver) await maria.resource.look(whose)
      })
      try {
        const passages = await Promise.all(calls.map(prepare))
        expect(passages).toEqual(
          calls.map(() => expect.objectContaining({ entered: expect.stringMatching(/in|busy/) })),
        )
      } finally {
        isOver = true
        await Promise.all(looks)
      }
    }
  })
})
