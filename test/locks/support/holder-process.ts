/**
 * Process that works under a lock and sends its decision, for a test that stops it in between. It never checks its
 * lease; its messages carry the lock by themselves. Arguments: JSON of `HolderOptions`. Prints nothing.
 */
import { createBinder, defineChannel } from 'concordat/binder'
import { rabbitTransport } from 'concordat/binder/rabbitmq'
import { leaseHeaders } from 'concordat/locks'
import { redisLocks } from 'concordat/redis'
import { z } from 'zod'

export interface HolderOptions {
  readonly redisUrl: string
  readonly rabbitUrl: string
  readonly prefix: string
  readonly channel: string
  readonly key: string
  readonly name: string
  readonly ttlMs: number
}

/** Out: its actions. In: any message resumes it for its second send. */
export type HolderReport = 'held' | 'sent again' | 'ended'

const options = JSON.parse(process.argv[2] ?? '{}') as HolderOptions
const writes = defineChannel(options.channel, { payload: z.object({ text: z.string() }), partitions: 1 })
const locks = redisLocks({ url: options.redisUrl, prefix: options.prefix })
const binder = createBinder({
  service: options.name,
  transport: rabbitTransport({ url: options.rabbitUrl }),
  sends: [writes],
  headers: () => leaseHeaders(),
})
const report = (what: HolderReport): void => void process.send?.(what)
const goOn = new Promise<void>((resolve) => process.once('message', () => resolve()))

await binder.start()
await locks
  .using(options.key, { ttlMs: options.ttlMs, waitMs: 60_000 }, async () => {
    await binder.send(writes, { text: `${options.name} 1` })
    report('held')
    await goOn
    await binder.send(writes, { text: `${options.name} 2` })
    report('sent again')
  })
  .catch((error: unknown) => {
    if ((error as { code?: string }).code !== 'locks.lost') throw error
  })
await locks.close()
await binder.close()
report('ended')
process.disconnect()
