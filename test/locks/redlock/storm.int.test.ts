import { randomUUID } from 'node:crypto'
import type { Lease, Locks } from 'concordat/locks'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { Quorum } from '../../support/locks/quorum.ts'
import { describeWith, serverClock, serverClockLack } from '../../support/servers/index.ts'
import { until } from '../../support/until.ts'

/** mulberry32. */
function random(seed: number): () => number {
  let state = seed
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let t = Math.imul(state ^ (state >>> 15), 1 | state)
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32
  }
}

/** History of one key, in the order of grants. */
class Story {
  readonly tokens: number[] = []
  readonly overlaps: string[] = []
  #last: Lease | undefined

  granted(lease: Lease): void {
    // By the clocks, now: the previous holder's belief at the moment in which the next one's begins.
    if (this.#last?.state === 'held') this.overlaps.push(`${this.#last.token} and ${lease.token}`)
    this.#last = lease
    this.tokens.push(lease.token)
  }
}

const GRACE_MS = 2_000
const FAULTS = ['cut', 'mute', 'no replies', 'slow', 'frozen', 'killed'] as const

const PERIODS = 8
/** Grants in each period. */
const WHILE_FAILING = 60
const BETWEEN = 15
/** Limit for sixteen such waits together and for each alone, so that the lock keeps moving on a busy machine. */
const GRANTED_WITHIN_MS = 60_000

/** Servers disagree about the time by less than the grace: else a server that forgot could give a lower token. */
const AHEAD_MS = [0, 700, -700, 350, -350] as const

describeWith(['redis'], 'five servers of which two fail, again and again', { private: true }, () => {
  let quorum: Quorum
  const clocks = new DisposableStack()
  beforeAll(async () => {
    const environments: Array<Readonly<Record<string, string>>> = []
    for (const aheadMs of AHEAD_MS) {
      if (serverClockLack() !== undefined) break
      const clock = clocks.use(await serverClock())
      clock.shift(aheadMs)
      environments.push(clock.env)
    }
    quorum = await Quorum.start(5, (n) => ({ ...(environments[n] && { env: environments[n] }) }))
    await until('they are old enough', async () => {
      const infos = await quorum.everywhere((client) => client.info('server'))
      return infos.every((info) => Number(/uptime_in_seconds:(\d+)/.exec(info)?.[1]) * 1_000 > GRACE_MS + 1_000)
    })
  })
  afterAll(async () => {
    await quorum.close()
    clocks.dispose()
  })

  const fail = async (n: number, fault: (typeof FAULTS)[number]): Promise<void> => {
    if (fault === 'cut') quorum.link(n).cut()
    else if (fault === 'mute') quorum.link(n).hold('both')
    else if (fault === 'no replies') quorum.link(n).hold('replies')
    else if (fault === 'slow') quorum.link(n).slow(() => 60)
    else if (fault === 'frozen') quorum.freeze(n)
    else await quorum.server(n).kill()
  }
  const restore = async (n: number): Promise<void> => {
    quorum.thaw()
    quorum.link(n).heal()
    await quorum.server(n).start()
  }

  it.for([1, 2])(
    'seed %i: no two holders overlap, tokens rise, and the lock is always granted',
    { timeout: 400_000 },
    async (seed) => {
      const next = random(seed)
      const options = { restartGraceMs: GRACE_MS, pollMs: 10 }
      const records = Array.from({ length: 6 }, () => [randomUUID(), new Story()] as const)
      const over = new AbortController()
      let grants = 0
      const worker = async (locks: Locks, key: string, story: Story): Promise<void> => {
        while (!over.signal.aborted) {
          const lease = await locks
            .acquire(key, { ttlMs: 400 + Math.floor(next() * 1_000), maxHoldMs: 300, signal: over.signal })
            .catch((error: { code?: string }) => {
              if (!over.signal.aborted) expect(error.code).toMatch(/^locks\.(timeout|store_unavailable)$/)
            })
          if (lease === undefined) continue
          story.granted(lease)
          grants += 1
          await new Promise((resolve) => setImmediate(resolve))
          // In one of fifty cases the holder does not release, and relies on its lease until the end.
          if (next() > 0.02) await lease.release()
          else await new Promise((resolve) => lease.signal.addEventListener('abort', resolve, { once: true }))
        }
      }
      // Contenders of their own, which know no token but their own.
      const contenders: Locks[] = []
      const workers = records.flatMap(([key, story]) =>
        [1, 2, 3].map(() => {
          const locks = quorum.contender(options)
          contenders.push(locks)
          return worker(locks, key, story)
        }),
      )
      for (let period = 0; period < PERIODS; period++) {
        const first = Math.floor(next() * 5)
        const failing = [first, (first + 1 + Math.floor(next() * 4)) % 5].slice(0, 1 + Math.floor(next() * 2))
        for (const n of failing) await fail(n, FAULTS[Math.floor(next() * FAULTS.length)] ?? 'cut')
        const enough = grants + WHILE_FAILING
        await until('enough were granted while servers failed', () => grants >= enough, GRANTED_WITHIN_MS)
        for (const n of failing) await restore(n)
        const between = grants + BETWEEN
        await until('enough were granted when all were back', () => grants >= between, GRANTED_WITHIN_MS)
      }
      over.abort(new Error('over'))
      await Promise.all(workers)
      await Promise.all(contenders.map((locks) => locks.close()))
      for (const [, { tokens, overlaps }] of records) {
        expect(overlaps).toEqual([])
        expect(tokens.filter((token, n) => n > 0 && token <= (tokens[n - 1] ?? 0))).toEqual([])
      }
      console.log(`  seed ${seed}: ${grants} grants`)
      expect(grants).toBeGreaterThanOrEqual(PERIODS * (WHILE_FAILING + BETWEEN))
    },
  )
})
