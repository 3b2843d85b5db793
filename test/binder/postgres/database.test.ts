// oxlint-disable no-restricted-imports -- inside of the transport: what its health is made of
import type { SqlClient } from 'concordat/core'
import { expect, it } from 'vitest'
import { StatementRunner } from '../../../binder/postgres/statement-runner.ts'
import { FakeClock } from '../../support/locks/fake-clock.ts'

const ISOLATION = 'default_transaction_isolation'

function setup(timeoutMs = 30_000) {
  const clock = new FakeClock()
  /** Work to run when the server gets a statement, by its text. */
  const answers = new Map<string, () => Promise<void>>()
  const sql = {
    query: async (text: string) => {
      if (text.includes(ISOLATION)) return { rows: [{ level: 'read committed' }], rowCount: 1 }
      await answers.get(text)?.()
      return { rows: [], rowCount: 0 }
    },
  } as unknown as SqlClient
  const database = new StatementRunner(sql, 'concordat', clock, timeoutMs)
  const does = (what: string, isUpkeep = false): Promise<unknown> =>
    database.query(what, what, [], { isUpkeep }).catch(() => {})
  /** Time passes, and the session is renewed each second. */
  const beats = async (seconds: number): Promise<readonly string[]> => {
    const statuses: string[] = []
    for (let n = 0; n < seconds; n++) {
      await does('renew')
      await clock.advance(1_000)
      statuses.push(database.health.status)
    }
    return statuses
  }
  return { clock, answers, database, does, beats }
}

const fails = (code: string, message: string) => () => Promise.reject(Object.assign(new Error(message), { code }))

it('a statement that waits for a lock makes health down within ten seconds, despite other answers', async () => {
  const { answers, database, does, beats } = setup()
  const lock = Promise.withResolvers<void>()
  answers.set('fetch', () => lock.promise)
  const fetched = does('fetch')
  expect(await beats(7)).toEqual(Array.from({ length: 7 }, () => 'up'))
  expect(await beats(10)).toEqual(Array.from({ length: 10 }, () => 'down'))
  expect(database.health.detail).toBe('PostgreSQL: no answer for 17 s while trying to fetch')
  lock.resolve()
  await fetched
  expect(database.health).toEqual({ status: 'up' })
})

it('a statement that times out and is repeated is down without a gap', async () => {
  const { answers, does, beats } = setup(12_000)
  answers.set('fetch', () => new Promise(() => {}))
  void (async () => {
    for (let n = 0; n < 5; n++) await does('fetch')
  })()
  expect((await beats(50)).lastIndexOf('up')).toBeLessThan(9)
})

it('a refused statement keeps health down until it is answered, despite other answers', async () => {
  const { answers, database, does, beats } = setup()
  answers.set('fetch', fails('42501', 'permission denied for table transport_log'))
  await does('fetch')
  expect(await beats(3)).toEqual(['down', 'down', 'down'])
  expect(database.health.detail).toContain('could not fetch: permission denied for table transport_log')
  answers.delete('fetch')
  await does('fetch')
  expect(database.health).toEqual({ status: 'up' })
})

it('health is up with the first answer after an outage', async () => {
  const { answers, database, does } = setup()
  answers.set('fetch', fails('57P01', 'terminating connection due to administrator command'))
  await does('fetch')
  expect(database.health.status).toBe('down')
  await does('renew')
  expect(database.health).toEqual({ status: 'up' })
})

it('maintenance may wait and be refused without a word in health', async () => {
  const { answers, does, beats } = setup()
  answers.set('rotate', () => new Promise(() => {}))
  answers.set('free', fails('55P03', 'canceling statement due to lock timeout'))
  void does('rotate', true)
  await does('free', true)
  expect(new Set(await beats(20))).toEqual(new Set(['up']))
})
