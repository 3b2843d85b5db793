/** Sessions in the stores of other packages, on the client and the pool that locks and tokens have (docs/coordination/locks.md). */
import { once } from 'node:events'
import type { Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { pgClient } from 'concordat/core/pg'
import { createTokens } from 'concordat/locks'
import { postgresTokens } from 'concordat/postgres'
import { redisLocks, redisTokens } from 'concordat/redis'
import pgSession from 'connect-pg-simple'
import { RedisStore } from 'connect-redis'
import express from 'express'
import session, { type Store } from 'express-session'
import { Redis } from 'ioredis'
import { expect, test } from 'vitest'
import { uniqueName } from '../../outbox/support/messages.ts'
import { createDatabase } from '../../outbox/support/postgres.ts'
import { describeWith, serverUrl } from '../../support/servers/index.ts'

declare module 'express-session' {
  interface SessionData {
    user: string
  }
}

interface Instance {
  readonly server: Server
  ask(method: 'GET' | 'POST', path: string, cookie?: string): Promise<{ status: number; text: string; cookie?: string }>
}

/** An instance of a web service: a token of a mail logs in, once. */
async function instanceOf(store: Store, tokens: ReturnType<typeof createTokens>): Promise<Instance> {
  const app = express()
  app.use(
    session({
      store,
      secret: 'only for this test',
      resave: false,
      saveUninitialized: false,
      cookie: { httpOnly: true, sameSite: 'lax', maxAge: 60_000 },
    }),
  )
  app.post('/login/:token', async (request, response) => {
    const user = await tokens.redeem('login', request.params.token).catch(() => undefined)
    if (typeof user !== 'string') return void response.status(403).end('this link is not valid')
    request.session.regenerate((error: unknown) => {
      if (error) return void response.status(500).end()
      request.session.user = user
      response.end('welcome')
    })
  })
  app.get('/', (request, response) => void response.end(request.session.user ?? 'nobody'))
  app.post('/logout', (request, response) => request.session.destroy(() => response.end('bye')))
  const server = app.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  return {
    server,
    async ask(method, path, cookie) {
      const headers = cookie === undefined ? undefined : { cookie }
      const answer = await fetch(`http://127.0.0.1:${port}${path}`, { method, ...(headers && { headers }) })
      const set = answer.headers.get('set-cookie')
      return { status: answer.status, text: await answer.text(), ...(set && { cookie: set }) }
    },
  }
}

/** Two instances with a store each: what one writes the other reads. */
async function holds(stores: readonly [Store, Store], tokens: ReturnType<typeof createTokens>, fixed: string) {
  const instances = await Promise.all(stores.map((store) => instanceOf(store, tokens)))
  const [one, two] = instances as [Instance, Instance]
  const { token } = await tokens.issue('login', 'ada', 60_000)

  const login = await one.ask('POST', `/login/${token}`, fixed)
  expect(login).toMatchObject({ status: 200, text: 'welcome' })
  expect(login.cookie).toContain('HttpOnly')
  const cookie = login.cookie?.split(';')[0] as string
  expect(cookie).not.toBe(fixed)

  expect(await two.ask('GET', '/', cookie)).toMatchObject({ text: 'ada' })
  expect(await two.ask('GET', '/')).toMatchObject({ text: 'nobody' })
  expect(await two.ask('POST', `/login/${token}`)).toMatchObject({ status: 403 })

  expect(await two.ask('POST', '/logout', cookie)).toMatchObject({ text: 'bye' })
  expect(await one.ask('GET', '/', cookie)).toMatchObject({ text: 'nobody' })
  for (const { server } of instances) {
    server.closeAllConnections()
    server.close()
  }
}

describeWith(['redis'], 'sessions of connect-redis beside our locks and tokens', () => {
  test('are seen by each instance, end for all, and begin with a token once', async () => {
    const client = new Redis(serverUrl('redis') as string)
    const prefix = `${uniqueName('session')}:`
    const locks = redisLocks({ client, prefix: `${prefix}lock:` })
    await using tokens = createTokens({ store: redisTokens({ client, prefix: `${prefix}token:` }) })
    const store = (): Store => new RedisStore({ client, prefix: `${prefix}session:`, ttl: 60 })
    await locks.using('beside', { ttlMs: 10_000 }, () => holds([store(), store()], tokens, 'connect.sid=s%3Aforeign.x'))
    expect(await client.keys(`${prefix}session:*`)).toEqual([])
    await locks.close()
    client.disconnect()
  })
})

describeWith(['postgres'], 'sessions of connect-pg-simple beside our tables', () => {
  test('are seen by each instance, end for all, and begin with a token once', async () => {
    const database = await createDatabase()
    const { pool } = database
    const tokenStore = postgresTokens({ sql: pgClient(pool) })
    await tokenStore.migrate()
    await using tokens = createTokens({ store: tokenStore })
    const PgStore = pgSession(session)
    const stores = [0, 1].map(
      () => new PgStore({ pool, schemaName: 'concordat', tableName: 'http_session', createTableIfMissing: true }),
    ) as [InstanceType<typeof PgStore>, InstanceType<typeof PgStore>]
    await holds(stores, tokens, 'connect.sid=s%3Aforeign.x')
    expect((await pool.query('SELECT * FROM concordat.http_session')).rows).toEqual([])
    for (const store of stores) store.close()
    await database.drop()
  })
})
