import { Redis } from 'ioredis'

/** Statistics of a Redis server, read over a connection of its own that sends nothing else. */
export class RedisStats implements AsyncDisposable {
  readonly #client: Redis

  constructor(url: string) {
    this.#client = new Redis(url)
  }

  /** CPU time the server has used, in microseconds. */
  async cpuUs(): Promise<number> {
    const info = await this.#client.info('cpu')
    return (field(info, 'used_cpu_user') + field(info, 'used_cpu_sys')) * 1_000_000
  }

  /** Memory that the data takes. */
  async memoryBytes(): Promise<number> {
    return field(await this.#client.info('memory'), 'used_memory_dataset')
  }

  /** Number of calls of each command, inside scripts too. */
  async commands(): Promise<CommandCounts> {
    const counts = new Map<string, number>()
    for (const [, name = '', calls] of (await this.#client.info('commandstats')).matchAll(
      /cmdstat_(.+?):calls=(\d+)/g,
    )) {
      counts.set(name, Number(calls))
    }
    return counts
  }

  /** Removes the keys of the bench: locks free themselves, but fencing tokens are kept permanently. */
  async removeKeys(prefix: string): Promise<void> {
    for await (const keys of this.#client.scanStream({ match: `${prefix}*`, count: 1_000 })) {
      if ((keys as string[]).length > 0) await this.#client.unlink(...(keys as string[]))
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#client.quit()
  }
}

export type CommandCounts = ReadonlyMap<string, number>

/** Commands that reading the counters adds to them. */
const OWN = new Set(['info', 'client|setinfo', 'hello'])

export interface Traffic {
  /** Commands that clients sent. */
  readonly requests: number
  /** Commands that their scripts ran. */
  readonly inScripts: number
}

/**
 * Traffic between two readings.
 * @param direct the commands clients send; all others are counted as run by scripts
 */
export function trafficBetween(before: CommandCounts, after: CommandCounts, direct: readonly string[]): Traffic {
  let requests = 0
  let inScripts = 0
  for (const [name, calls] of after) {
    if (OWN.has(name)) continue
    const more = calls - (before.get(name) ?? 0)
    if (direct.includes(name)) requests += more
    else inScripts += more
  }
  return { requests, inScripts }
}

function field(info: string, name: string): number {
  return Number(new RegExp(`^${name}:(.*?)\r?$`, 'm').exec(info)?.[1] ?? Number.NaN)
}
