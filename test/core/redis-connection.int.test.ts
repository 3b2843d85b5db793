import { silentLogger, systemClock } from 'concordat/core'
import { Redis } from 'ioredis'
import { afterEach, beforeEach, expect, it } from 'vitest'
// The connection is no part of the package's interface; locks and election stand on it.
// oxlint-disable-next-line no-restricted-imports -- see above
import { RedisConnection } from '../../core/redis/connection.ts'
import { describeWith, type PrivateServer, startServer } from '../support/servers/index.ts'
import { until } from '../support/until.ts'

describeWith(['redis'], 'a Redis connection that only listens', { private: true }, () => {
  let server: PrivateServer
  const open: RedisConnection[] = []
  beforeEach(async () => {
    server = await startServer('redis')
  })
  afterEach(async () => {
    for (const connection of open.splice(0)) connection.close()
    await server.stop()
  })
  const connect = (): RedisConnection => {
    const connection = new RedisConnection({
      client: () => Promise.resolve(new Redis(server.url, { lazyConnect: true })),
      name: 'test',
      answerMs: 100,
      clock: systemClock,
      logger: silentLogger,
      errors: { unavailable: (_outcome, detail) => new Error(detail), refused: (cause) => cause },
    })
    open.push(connection)
    return connection
  }

  it('notices a frozen server while it is watched, and is back when that resumes', async () => {
    const connection = connect()
    await (await connection.ready()).subscribe('channel')
    connection.verifyWhile(() => true)
    server.pause()
    await until('it is noticed', () => connection.health().status === 'down')
    server.resume()
    await until('it is back', () => connection.health().status === 'up')
    expect(connection.peer()).toBe(`127.0.0.1:${new URL(server.url).port}`)
  })

  it('hears the messages of the channels that its owner subscribes to after each connect', async () => {
    const connection = connect()
    const heard: string[] = []
    connection.onMessage((channel, message) => heard.push(`${channel} ${message}`))
    connection.onReady((client) => void client.subscribe('channel'))
    await connection.ready()
    const admin = new Redis(server.url)
    const tell = (message: string): Promise<void> =>
      until(`${message} is heard`, async () => {
        await admin.publish('channel', message)
        return heard.includes(`channel ${message}`)
      })
    await tell('one')
    await admin.call('CLIENT', 'KILL', 'TYPE', 'pubsub')
    await tell('two')
    admin.disconnect()
  })
})
