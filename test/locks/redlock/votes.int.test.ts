import { randomUUID } from 'node:crypto'
import { afterAll, afterEach, beforeAll, expect, it } from 'vitest'
import { Quorum } from '../../support/locks/quorum.ts'
import { describeWith } from '../../support/servers/index.ts'
import { until } from '../../support/until.ts'

const LOCK = (key: string): string => `concordat:redlock:{${key}}`

describeWith(['redis'], 'a vote for a claim without a place in the queue', { private: true }, () => {
  let quorum: Quorum
  beforeAll(async () => {
    quorum = await Quorum.start(3)
  })
  afterEach(() => quorum.reset())
  afterAll(() => quorum.close())

  it('leaves on the servers what one with a place leaves: value, token and since when', async () => {
    const locks = quorum.contender()
    const [key, waitedFor] = [randomUUID(), randomUUID()]
    const begunAt = Date.now()
    const lease = await locks.acquire(key, { waitMs: 0, owner: 'a' })
    // The other script has voted for the waiter.
    const first = await locks.acquire(waitedFor)
    const waiting = locks.acquire(waitedFor)
    await until('it waits', async () => (await locks.inspect(waitedFor))?.waiters.length === 1)
    await first.release()
    const second = await waiting
    for (const held of [lease, second]) {
      const [holder] = (await locks.inspect(held.key))?.holders ?? []
      expect(holder?.token).toBe(held.token)
      expect(Math.abs((holder?.sinceAt ?? 0) - begunAt)).toBeLessThan(60_000)
      const fences = await quorum.everywhere((client) => client.hgetall(`${LOCK(held.key)}:fence`))
      for (const { token, held: ofHolder, since } of fences) {
        expect([token, ofHolder]).toEqual([expect.stringMatching(/^\d{16}$/), expect.stringMatching(/^\d{16}$/)])
        expect(since).toMatch(/^\d{13}$/)
      }
    }
  })

  it('is a token above all that the server knows, and above those that a process has seen', async () => {
    const key = randomUUID()
    const ahead = Date.now() * 1_000 + 60_000_000
    await quorum.everywhere((client) => client.hset(`${LOCK(key)}:fence`, { token: ahead, held: ahead, since: 1 }))
    const lease = await quorum.contender().acquire(key, { waitMs: 0 })
    expect(lease.token).toBe(ahead + 1)
    await lease.release()
    const above = await quorum.contender().acquire(randomUUID(), { waitMs: 0, tokenAbove: ahead + 10 })
    expect(above.token).toBe(ahead + 11)
    const fence = await quorum.admin(0, (client) => client.hgetall(`${LOCK(above.key)}:fence`))
    expect(fence).toMatchObject({ token: String(ahead + 11), held: String(ahead + 11) })
  })

  it('is not given while a client waits, though the lock is free', async () => {
    const locks = quorum.contender()
    const key = randomUUID()
    const ticket = Date.now() * 1_000
    await quorum.everywhere((client) => client.zadd(`${LOCK(key)}:line`, ticket, 'somebody.0.b'))
    await quorum.everywhere((client) => client.hset(`${LOCK(key)}:places`, 'somebody.0.b', Date.now() + 60_000))
    expect(await locks.tryAcquire(key)).toBeUndefined()
    await expect(locks.acquire(key, { waitMs: 0 })).rejects.toMatchObject({ code: 'locks.busy', owner: 'b' })
    // Its place in the queue expires, which frees the way.
    await quorum.everywhere((client) => client.hset(`${LOCK(key)}:places`, 'somebody.0.b', Date.now() - 1_000))
    expect(await locks.tryAcquire(key)).toBeDefined()
  })

  it('is not repeated on a server whose answer comes after the attempt was given up', async () => {
    const locks = quorum.contender({ answerMs: 2_000 })
    await (await locks.acquire(randomUUID())).release()
    const key = randomUUID()
    // Server 2 alone has a queue, and a slow connection; on the others the lock is held.
    await quorum.everywhere(async (client, n) => {
      if (n === 2) await client.zadd(`${LOCK(key)}:line`, 1, 'gone.0.b')
      else await client.set(LOCK(key), 'held.0.a', 'PX', 60_000)
    })
    quorum.link(2).slow(() => 40)
    expect(await locks.tryAcquire(key)).toBeUndefined()
    quorum.link(2).heal()
    await locks.close()
    expect(await quorum.admin(2, (client) => client.get(LOCK(key)))).toBeNull()
  })
})
