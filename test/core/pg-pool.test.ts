import { EventEmitter } from 'node:events'
import { pgClient } from 'concordat/core/pg'
import pg from 'pg'
import { expect, it, onTestFinished } from 'vitest'
import { LogLines } from '../support/log-lines.ts'

/** Never connected: nothing listens at the address. */
function poolOf(): pg.Pool {
  const pool = new pg.Pool({ connectionString: 'postgres://127.0.0.1:1/nobody' })
  onTestFinished(() => pool.end())
  return pool
}

const died = (pool: EventEmitter): boolean => pool.emit('error', new Error('terminated'))

it('a pg pool has one listener for any number of clients, so that one client for each request leaks nothing', () => {
  const pool = poolOf()
  const log = new LogLines()
  for (let n = 0; n < 50; n++) pgClient(pool, { logger: log.logger })
  expect(pool.listenerCount('error')).toBe(1)
  died(pool)
  expect(log.lines.map(({ message }) => message)).toEqual(['idle PostgreSQL connection lost'])
})

it('a pg pool notifies the last given logger, and each pool its own', () => {
  const [one, other] = [poolOf(), poolOf()]
  const [first, second, apart] = [new LogLines(), new LogLines(), new LogLines()]
  pgClient(one, { logger: first.logger })
  pgClient(one, { logger: second.logger })
  pgClient(one)
  pgClient(other, { logger: apart.logger })
  died(one)
  expect([first, second, apart].map(({ lines }) => lines.length)).toEqual([0, 1, 0])
})
