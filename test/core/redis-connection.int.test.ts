import { silentLogger, systemClock } from 'concordat/core'
import { Cluster, Redis } from 'ioredis'
import { afterEach, beforeEach, expect, it, onTestFinished, vi } from 'vitest'
// The connection is internal, and locks and election depend on it.
// oxlint-disable-next-line no-restricted-imports -- see above
import { defineScript, RedisConnection } from '../../core/redis/connection.ts'
import { describeWith, type PrivateServer, startCluster, startServer } from '../support/servers/index.ts'
import { until } from '../support/until.ts'

const ANSWER_MS = 100

describeWith(['redis'], 'a Redis connection that only listens', { private: true }, () => {
  let server: PrivateServer
  beforeEach(async () => {
    server = await startServer('redis')
  })
  afterEach(async () => {
    await server.stop()
  })
  it('notices a frozen server while it is watched, and is back when that resumes', async () => {
    const connection = connect(new Redis(server.url, { lazyConnect: true }))
    await (await connection.ready()).subscribe('channel')
    connection.verifyWhile(() => true)
    server.pause()
    await until('it is noticed', () => connection.health().status === 'down')
    server.resume()
    await until('it is back', () => connection.health().status === 'up')
    expect(connection.peer()).toBe(`127.0.0.1:${new URL(server.url).port}`)
  })

  it('hears the messages of the channels that its owner subscribes to after each connect', async () => {
    const connection = connect(new Redis(server.url, { lazyConnect: true }))
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

describeWith(['redis'], 'a process that stood still', { private: true }, () => {
  it('reads the answer of a server before it takes that for silent', async () => {
    const server = await startServer('redis')
    onTestFinished(() => server.stop())
    await answersAfterStandstill(connect(new Redis(server.url, { lazyConnect: true })))
  })

  it('does so with each node of a cluster', async () => {
    const cluster = await startCluster()
    onTestFinished(() => cluster.stop())
    await answersAfterStandstill(connect(new Cluster([...cluster.nodes], { lazyConnect: true })))
  })

  async function answersAfterStandstill(connection: RedisConnection): Promise<void> {
    const script = defineScript("return 'answer'")
    const isConnected = (): Promise<boolean> =>
      connection.ready().then(
        () => true,
        () => false,
      )
    await until('it is connected', isConnected)
    const servers = await connection.masters()
    const keys = ['a', 'b', 'c', 'd', 'e', 'f'].map((key) => [`{${key}}`])
    await Promise.all(keys.map((key) => connection.run(script, key, [])))
    const isGone = vi.fn()
    for (const server of servers) server.on('close', isGone)
    const answers = keys.map((key) => connection.run(script, key, []))
    standStill(3 * ANSWER_MS)
    await expect(Promise.all(answers)).resolves.toEqual(keys.map(() => 'answer'))
    expect(isGone).not.toHaveBeenCalled()
  }
})

function connect(client: Redis | Cluster): RedisConnection {
  const connection = new RedisConnection({
    client: () => Promise.resolve(client),
    name: 'test',
    answerMs: ANSWER_MS,
    clock: systemClock,
    logger: silentLogger,
    errors: { unavailable: (_outcome, detail) => new Error(detail), refused: (cause) => cause },
  })
  onTestFinished(() => connection.close())
  return connection
}

function standStill(durationMs: number): void {
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, durationMs)
}
