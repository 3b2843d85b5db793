import { randomUUID } from 'node:crypto'
import { createServer } from 'node:net'
import { createSharedState } from 'concordat/cluster'
import type { Logger } from 'concordat/core'
import { redisFence, redisLocks, redisStateStore, redlockLocks } from 'concordat/redis'
import { Cluster, Redis } from 'ioredis'
import { Redis as Redis5 } from 'ioredis5'
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest'
import { describeWith, type PrivateServer, portOf, startServer, withRedis } from '../support/servers/index.ts'
import { freePort } from '../support/servers/ports.ts'
import { witness } from '../support/witness.ts'

const SECRET = 'S3CR3T-hunter2'
const MAJORS = { 'ioredis 6': Redis, 'ioredis 5.11': Redis5 as unknown as typeof Redis }

interface Way {
  readonly client: Redis
  /** An address without a server. */
  readonly others: readonly Redis[]
  readonly logger: Logger
}

/** Each factory that connects, and its first command. */
const FIRST_COMMANDS: Readonly<Record<string, (way: Way) => Promise<unknown>>> = {
  redisLocks: async ({ client, logger }) => {
    await using locks = redisLocks({ client, logger })
    return await locks.acquire('k')
  },
  redisFence: async ({ client, logger }) => {
    await using fence = redisFence({ client, logger })
    return await fence.check('sku:42', 1)
  },
  redisStateStore: async ({ client, logger }) => {
    const store = redisStateStore({ client, logger })
    onTestFinished(() => store.close())
    await using state = createSharedState({ store, name: 's', logger })
    return await state.put('k', 1)
  },
  redlockLocks: async ({ client, others, logger }) => {
    await using locks = redlockLocks({ clients: [client, ...others], logger })
    return await locks.acquire('k')
  },
}

describeWith(['redis'], 'Redis’ refusals', { private: true }, () => {
  let server: PrivateServer
  beforeAll(async () => {
    server = await startServer('redis', { settings: { 'maxmemory-policy': 'noeviction' } })
    await withRedis(server, (admin) => admin.call('ACL', 'SETUSER', 'bob', 'on', '>another-one', '~*', '&*', '+@all'))
  })
  afterAll(() => server.stop())

  const clientOf = (Client: typeof Redis, port: number, options: object): Redis => {
    const client = new Client({ host: '127.0.0.1', port, lazyConnect: true, ...options })
    client.on('error', () => {})
    onTestFinished(() => client.disconnect())
    return client
  }

  const wayOf = async (client: Redis, logger: Logger): Promise<Way> => {
    const ports = [await freePort(), await freePort()]
    return { client, logger, others: ports.map((port) => clientOf(Redis, port, { lazyConnect: true })) }
  }

  describe.each(Object.entries(MAJORS))('%s', (_major, Client) => {
    it.each(Object.entries(FIRST_COMMANDS))('%s shows no part of a refused password', async (_name, first) => {
      const { logger, keep, shown } = witness()
      const client = clientOf(Client, portOf(server), { username: 'bob', password: SECRET })
      keep(
        await first(await wayOf(client, logger)).then(
          () => 'worked',
          (error: unknown) => error,
        ),
      )
      expect(shown()).toContain('WRONGPASS')
      expect(shown()).not.toContain(SECRET)
      expect(shown()).not.toContain("'bob'")
    })

    it.each(Object.entries(FIRST_COMMANDS))(
      '%s shows no password that the server refuses as an unknown command',
      async (_name, first) => {
        // Error of a server with a renamed AUTH, and of some proxies: the command with its arguments.
        const strange = createServer((socket) => {
          socket.on('error', () => {})
          socket.on('data', () =>
            socket.write(`-ERR unknown command 'auth', with args beginning with: 'bob' '${SECRET}' \r\n`.repeat(4)),
          )
        })
        await new Promise<void>((listening) => strange.listen(0, '127.0.0.1', listening))
        onTestFinished(() => void strange.close())
        const { logger, keep, shown } = witness()
        const { port } = strange.address() as { port: number }
        const client = clientOf(Client, port, { username: 'bob', password: SECRET })
        keep(
          await first(await wayOf(client, logger)).then(
            () => 'worked',
            (error: unknown) => error,
          ),
        )
        expect(shown()).toContain('unknown command')
        expect(shown()).not.toContain(SECRET)
      },
    )

    it('of a cluster client neither', async () => {
      const { logger, keep, shown } = witness()
      const redisOptions = { username: 'bob', password: SECRET }
      const client = new Cluster([{ host: '127.0.0.1', port: portOf(server) }], { redisOptions, lazyConnect: true })
      await using locks = redisLocks({ client, logger })
      keep(
        await locks.acquire('k').then(
          () => 'worked',
          (error: unknown) => error,
        ),
      )
      expect(shown()).toContain('WRONGPASS')
      expect(shown()).not.toContain(SECRET)
    })

    it('data of a write that is refused is in no error: a shared state, a fenced write', async () => {
      const { logger, keep, shown } = witness()
      const client = clientOf(Client, portOf(server), {})
      const store = redisStateStore({ client, logger })
      const state = createSharedState({ store, name: `s-${randomUUID()}`, logger })
      const fence = redisFence({ client, logger })
      const failure = (error: unknown): unknown => error
      await withRedis(server, (admin) => admin.config('SET', 'maxmemory', '1'))
      try {
        keep(await state.put('k', { card: SECRET }).then(() => 'worked', failure))
        keep(await fence.write('r', 1, [['SET', '{r}:v', SECRET]]).then(() => 'worked', failure))
      } finally {
        await withRedis(server, (admin) => admin.config('SET', 'maxmemory', '0'))
        await Promise.all([state.close(), store.close(), fence.close()])
      }
      expect(shown()).toContain('OOM')
      expect(shown()).not.toContain('worked')
      expect(shown()).not.toContain(SECRET)
    })
  })
})
