import { randomUUID } from 'node:crypto'
import { type RedisFence, redisFence, redisLocks } from 'concordat/redis'
import { Cluster, Redis } from 'ioredis'
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest'
import { describeWith, serverUrl, startCluster, startServer, withRedis } from '../../support/servers/index.ts'
import { until } from '../../support/until.ts'

describeWith(['redis'], 'the fence in Redis', () => {
  let client: Redis
  let fence: RedisFence
  const used: string[] = []
  const name = (): string => {
    const key = `test-${randomUUID()}`
    used.push(key, `concordat:fence:{${key}}`)
    return key
  }
  beforeAll(() => {
    client = new Redis(serverUrl('redis') as string)
    fence = redisFence({ client })
  })
  afterAll(async () => {
    await client.del(used)
    await fence.close()
    client.disconnect()
  })

  it('lets rising and equal tokens write, and answers what Redis answered', async () => {
    const key = name()
    const replies = await fence.write(key, 5, [
      ['HSET', key, 'left', 7],
      ['HINCRBY', key, 'left', -2],
      ['HGET', key, 'left'],
      ['HGET', key, 'absent'],
    ])
    expect(replies).toEqual([1, 5, '5', null])
    expect(await fence.write(key, 5, [['HGET', key, 'left']])).toEqual(['5'])
    await fence.check(key, 8)
    expect(await fence.lastToken(key)).toBe(8)
    expect(await fence.lastToken(name())).toBeUndefined()
  })

  it.each(['\ud800', 'a\ud801', '\udc00'])(
    'refuses the resource %j: in Redis it could be another one',
    async (resource) => {
      await expect(fence.check(resource, 1)).rejects.toThrow('fence resource: expected well-formed text')
      await expect(fence.raise(resource, 1)).rejects.toThrow('fence resource: expected well-formed text')
      await expect(fence.lastToken(resource)).rejects.toThrow('fence resource: expected well-formed text')
    },
  )

  it('writes nothing under a token older than one it has seen', async () => {
    const key = name()
    await fence.write(key, 20, [['SET', key, 'young']])
    await expect(fence.write(key, 19, [['SET', key, 'old']])).rejects.toMatchObject({
      code: 'locks.fence_rejected',
      resource: key,
      token: 19,
      lastToken: 20,
    })
    await expect(fence.check(key, 3)).rejects.toMatchObject({ code: 'locks.fence_rejected' })
    expect(await client.get(key)).toBe('young')
  })

  it('compares tokens as whole numbers, exactly, up to the largest exact integer of JavaScript', async () => {
    const key = name()
    await fence.write(key, 9, [])
    await fence.write(key, 10, [])
    await expect(fence.write(key, 9, [])).rejects.toMatchObject({ lastToken: 10 })
    const max = Number.MAX_SAFE_INTEGER
    await fence.write(key, max - 1, [])
    await fence.write(key, max, [])
    await expect(fence.write(key, max - 1, [])).rejects.toMatchObject({ token: max - 1, lastToken: max })
  })

  it('keeps bytes as they are, in keys, values and replies', async () => {
    const key = Buffer.from([...Buffer.from(name()), 0xff, 0x00, 0x0a])
    const value = Buffer.from(Array.from({ length: 256 }, (_, byte) => byte))
    const resource = name()
    const commands = [
      ['SET', key, value],
      ['GET', key],
    ] as const
    expect(await fence.write(resource, 1, commands, { buffers: true })).toEqual([Buffer.from('OK'), value])
    expect(await client.getBuffer(key)).toEqual(value)
    await client.del(key)
  })

  it('reports how far it came when a command fails, and admits no older holder after that', async () => {
    const key = name()
    const failing = fence.write(key, 30, [
      ['SET', key, 'text'],
      ['LPUSH', key, 'x'],
      ['SET', key, 'never'],
    ])
    await expect(failing).rejects.toMatchObject({
      code: 'locks.fenced_write_failed',
      resource: key,
      command: 'LPUSH',
      applied: 1,
      retryable: false,
      message: expect.stringContaining('WRONGTYPE'),
    })
    expect(await client.get(key)).toBe('text')
    await expect(fence.check(key, 29)).rejects.toMatchObject({ lastToken: 30 })
    await expect(fence.write(key, 31, [['NOSUCH', key]])).rejects.toMatchObject({ command: 'NOSUCH', applied: 0 })
  })

  it('is raised by an operator, never lowered', async () => {
    const key = name()
    expect(await fence.raise(key, 50)).toBe(50)
    expect(await fence.raise(key, 40)).toBe(50)
    await expect(fence.write(key, 49, [['SET', key, 'late']])).rejects.toMatchObject({ lastToken: 50 })
    await fence.write(key, 50, [['SET', key, 'in time']])
  })

  it('keeps the youngest holder’s write, with any order of arrival', async () => {
    const [key, log] = [name(), name()]
    const tokens = Array.from({ length: 200 }, () => Math.floor(Math.random() * 1_000))
    const writes = tokens.map((token) =>
      fence.write(key, token, [
        ['SET', key, token],
        ['RPUSH', log, token],
      ]),
    )
    const outcomes = await Promise.allSettled(writes)
    const accepted = (await client.lrange(log, 0, -1)).map(Number)
    expect(accepted).toHaveLength(outcomes.filter(({ status }) => status === 'fulfilled').length)
    expect(accepted).toEqual([...accepted].sort((a, b) => a - b))
    expect(Number(await client.get(key))).toBe(Math.max(...tokens))
  })

  it('keeps a holder that was stopped too long from writing', async () => {
    const key = name()
    const prefix = `test-${randomUUID()}:`
    await using locks = redisLocks({ client, prefix })
    const old = await locks.acquire(key, { ttlMs: 100, maxHoldMs: 0 })
    const young = await locks.acquire(key)
    await fence.write(key, young.token, [['SET', key, 'young']])
    await expect(fence.write(key, old.token, [['SET', key, 'zombie']])).rejects.toMatchObject({ token: old.token })
    expect(await client.get(key)).toBe('young')
    await young.release()
    await client.del(`${prefix}{${key}}:fence`)
  })

  it('refuses bad tokens, resources, commands and options where they are made', async () => {
    const write = (commands: unknown, options?: unknown): Promise<unknown> =>
      fence.write('r', 1, commands as never, options as never)
    await expect(fence.write('', 1, [])).rejects.toThrow('fence resource')
    await expect(fence.write('r', 1.5, [])).rejects.toThrow('fence("r") token')
    await expect(write('SET r 1')).rejects.toThrow('expected a list of commands')
    await expect(write(['SET'])).rejects.toThrow('fence("r").write[0]: expected a command')
    await expect(write([['SET', 'r', { n: 1 }]])).rejects.toThrow('write[0][2]: expected a string, a finite number')
    await expect(write([['DEL', ...Array.from({ length: 9_000 }, () => 'k')]])).rejects.toThrow('write[0].length')
    await expect(write([], { buffer: true })).rejects.toThrow('Did you mean "buffers"?')
    expect(() => redisFence({})).toThrow('redisFence: expected either client')
    expect(() => redisFence({ client, prefx: 'x' } as never)).toThrow('Did you mean "prefix"?')
  })

  it('is up once it was used, and unavailable when closed', async () => {
    const other = redisFence({ client })
    expect(other.health().status).toBe('idle')
    await other.lastToken('r')
    expect(other.health().status).toBe('up')
    await other.close()
    await expect(other.check('r', 1)).rejects.toMatchObject({ code: 'locks.store_unavailable', outcome: 'not_done' })
  })
})

describeWith(['redis'], 'the fence in a Redis that is frozen', { private: true }, () => {
  it('reports a write as unknown that was under way when it was closed, for Redis may execute it', async () => {
    const server = await startServer('redis')
    onTestFinished(() => server.stop())
    const fence = redisFence({ url: server.url, answerMs: 500 })
    await fence.check('stock', 1)
    server.pause()
    const writing = fence.write('stock', 1, [['SET', 'stock', 'written']]).catch((error: unknown) => error)
    // The command leaves with the turn of the event loop in which it was sent.
    await new Promise((resolve) => setImmediate(resolve))
    await fence.close()
    expect(await writing).toMatchObject({ code: 'locks.store_unavailable', outcome: 'unknown' })
    server.resume()
    await until('it is written', () => withRedis(server, async (admin) => (await admin.get('stock')) === 'written'))
  })
})

describeWith(['redis'], 'the fence in a Redis Cluster', { private: true }, () => {
  let cluster: Awaited<ReturnType<typeof startCluster>>
  let client: Cluster
  let fence: RedisFence
  beforeAll(async () => {
    cluster = await startCluster()
    client = new Cluster([...cluster.nodes])
    fence = redisFence({ client })
  })
  afterAll(async () => {
    await fence.close()
    client.disconnect()
    await cluster.stop()
  })

  describe('with keys of one slot', () => {
    it('writes to the key that the resource is named after, wherever its slot is', async () => {
      for (let n = 0; n < 20; n++) {
        const key = `stock:${n}`
        expect(await fence.write(key, 7, [['INCR', key]])).toEqual([1])
        await expect(fence.write(key, 6, [['INCR', key]])).rejects.toMatchObject({ code: 'locks.fence_rejected' })
        expect(await fence.lastToken(key)).toBe(7)
        expect(await fence.raise(key, 8)).toBe(8)
      }
    })

    it('writes to keys with the hash tag of the resource', async () => {
      const commands = [
        ['SET', 'stock:{42}:left', 1],
        ['SADD', 'orders:{42}', 'a'],
      ] as const
      expect(await fence.write('42', 1, commands)).toHaveLength(2)
      expect(await fence.write('stock:{42}', 1, commands)).toHaveLength(2)
    })
  })

  it('refuses keys of another slot before anything is written', async () => {
    const commands = [
      ['SET', 'a', 1],
      ['SET', 'b', 1],
    ] as const
    await expect(fence.write('a', 1, commands)).rejects.toMatchObject({
      code: 'locks.fenced_write_failed',
      applied: 0,
      message: expect.stringContaining('hash tag'),
    })
    expect([await client.get('a'), await client.get('b')]).toEqual([null, null])
  })
})
