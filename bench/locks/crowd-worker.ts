/**
 * One process of the crowd: the given number of waiters for one key over one client; each releases the lock as soon as
 * it has it.
 */
import { endWithParent, sharedNow } from '../processes.ts'
import { concordat, redisSemaphore, redlock } from './waiters.ts'

export interface CrowdReport {
  readonly did: 'ready' | 'done'
  /** Time on the shared clock at which each waiter was granted the lock. */
  readonly grantedAt?: readonly number[]
}

const KINDS = { concordat, redlock, 'redis-semaphore': redisSemaphore } as const

const [url = '', prefix = '', kind = '', key = '', waiters = '', heartbeatMs = ''] = process.argv.slice(2)
endWithParent()
const client = KINDS[kind as keyof typeof KINDS].make(url, prefix, Number(heartbeatMs))
const report = (what: CrowdReport): void => void process.send?.(what)
const grantedAt: number[] = []

process.once('message', () => {
  const waiting = Array.from({ length: Number(waiters) }, async () => {
    const release = await client.take(key)
    grantedAt.push(sharedNow())
    await release()
  })
  Promise.all(waiting).then(
    async () => {
      report({ did: 'done', grantedAt })
      await client.close()
      process.disconnect()
    },
    (error: unknown) => {
      throw error
    },
  )
})
report({ did: 'ready' })
