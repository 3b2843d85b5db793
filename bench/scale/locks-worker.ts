/** Acquires and releases random keys out of the given number of its own. */
import { redisLocks } from 'concordat/redis'
import { serve } from '../serve.ts'

const [url = '', prefix = '', count = '', isFilled = ''] = process.argv.slice(2)
const keys = Number(count)
const locks = redisLocks({ url, prefix: `${prefix}${isFilled === 'filled' ? '' : process.pid}:` })

async function pair(n: number): Promise<void> {
  const lease = await locks.acquire(String(n), { ttlMs: 10_000, waitMs: 1_000 })
  await lease.release()
}

/** Locks each key once, so that every lock has left its data in Redis. */
async function fill(): Promise<void> {
  let next = 0
  const slot = async (): Promise<void> => {
    for (let n = next++; n < keys; n = next++) await pair(n)
  }
  await Promise.all(Array.from({ length: 256 }, slot))
}

if (isFilled === 'filled') await fill()
serve(() => pair(Math.floor(Math.random() * keys)))
