/** A process that takes a lock, or waits for one, and then has nothing else to do. Closes nothing. */
import { redisLocks } from 'concordat/redis'

const [url = '', prefix = '', what = ''] = process.argv.slice(2)
const locks = redisLocks({ url, prefix })
process.on('exit', (code) => process.stdout.write(`exit ${code}\n`))

if (what === 'hold') {
  const lease = await locks.acquire('k', { ttlMs: 5_000 })
  process.stdout.write(`${lease.state}\n`)
}
if (what === 'release') {
  const lease = await locks.acquire('k')
  process.stdout.write(`${await lease.release()}\n`)
}
if (what === 'wait') {
  process.stdout.write('waiting\n')
  const lease = await locks.acquire('k', { waitMs: Number.POSITIVE_INFINITY })
  process.stdout.write(`${lease.state}\n`)
}
