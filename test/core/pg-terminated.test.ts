/** A server that ends a connection with the last words of an answer: both come in one piece, and `pg` reads them in one go. */
import { createServer, type Socket } from 'node:net'
import { silentLogger } from 'concordat/core'
import { pgClient, pgPrimary } from 'concordat/core/pg'
import pg from 'pg'
import { describe, expect, it, onTestFinished } from 'vitest'
// oxlint-disable-next-line no-restricted-imports -- no part of what users see
import { sqlUnavailable } from '../../core/sql-unavailable.ts'
import { uncaughtErrors } from '../support/uncaught-errors.ts'

const message = (type: string, body: Buffer): Buffer => {
  const head = Buffer.alloc(5)
  head.write(type)
  head.writeInt32BE(body.length + 4, 1)
  return Buffer.concat([head, body])
}
const AUTHENTICATED = message('R', Buffer.alloc(4))
const READY = message('Z', Buffer.from('I'))
const DONE = message('C', Buffer.from('SELECT 0\0'))
const TERMINATED = message(
  'E',
  Buffer.from('SFATAL\0VFATAL\0C57P01\0Mterminating connection due to administrator command\0\0'),
)

type When = 'connected' | 'answered'

/** @returns its address; connections end when they were made, or with the answer to the first statement */
async function serverThatEnds(when: When): Promise<string> {
  const server = createServer((socket) => {
    socket.on('error', () => {})
    socket.once('data', () => {
      const greeting = [AUTHENTICATED, READY]
      if (when === 'connected') {
        end(socket, greeting)
        return
      }
      socket.write(Buffer.concat(greeting))
      socket.once('data', () => end(socket, [DONE, READY]))
    })
  })
  onTestFinished(() => void server.close())
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const address = server.address()
  if (address === null || typeof address === 'string') throw new Error('no port')
  return `postgres://nobody@127.0.0.1:${address.port}/nothing`
}

function end(socket: Socket, last: readonly Buffer[]): void {
  socket.end(Buffer.concat([...last, TERMINATED]))
}

function poolAt(connectionString: string): pg.Pool {
  const pool = new pg.Pool({ connectionString, max: 1 })
  onTestFinished(() => pool.end())
  return pool
}

const CLIENTS = [
  ['a pool', (pool: pg.Pool) => pgClient(pool, { logger: silentLogger })],
  ['a pool among several', (pool: pg.Pool) => pgClient(pgPrimary([pool]), { logger: silentLogger })],
] as const

describe.for(CLIENTS)('a connection of %s', ([, clientOf]) => {
  it('that ends as soon as it is made fails the transaction, and not the process', async () => {
    const errors = uncaughtErrors()
    const client = clientOf(poolAt(await serverThatEnds('connected')))
    const failed = await client.transaction((tx) => tx.query('SELECT 1')).catch((error: unknown) => error)
    expect(sqlUnavailable(failed)).toBe('lost')
    const alone = await client.query('SELECT 1').catch((error: unknown) => error)
    expect(sqlUnavailable(alone)).toBe('lost')
    expect(errors).toEqual([])
  })

  it('a connection that ends as it goes from one to the next fails the next, and not the process', async () => {
    const errors = uncaughtErrors()
    const client = clientOf(poolAt(await serverThatEnds('answered')))
    const outcomes = await Promise.allSettled([
      client.query('SELECT 1'),
      client.transaction((tx) => tx.query('SELECT 2')),
      client.transaction((tx) => tx.query('SELECT 3')),
    ])
    expect(outcomes.map(({ status }) => status)).toContain('rejected')
    expect(errors).toEqual([])
  })
})
