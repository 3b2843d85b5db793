import { randomBytes } from 'node:crypto'
import { RedisStats } from './redis-stats.ts'

/** A Redis server shared by all sides, and the counters that it reports. */
export class Bed implements AsyncDisposable {
  readonly url: string
  /** Begins every key of this run. */
  readonly prefix = `bench:${randomBytes(4).toString('hex')}:`
  readonly stats: RedisStats

  constructor(url: string) {
    this.url = url
    this.stats = new RedisStats(url)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stats.removeKeys(this.prefix)
    await this.stats[Symbol.asyncDispose]()
  }
}
