import { type Binder, type Channel, createBinder, defineChannel, sink } from 'concordat/binder'
import { pgClient } from 'concordat/core/pg'
import { postgresTransport } from 'concordat/postgres'
import pg from 'pg'
import { z } from 'zod'
import { Arrivals } from '../arrivals.ts'
import { type Measured, timed } from '../compare.ts'
import { atOnce, CALL, calls, type Payload, type Side, TAKEN } from './sides.ts'

const Schema = z.object({ n: z.number().int(), key: z.string(), text: z.string() })

/** The binder over the PostgreSQL transport: checked, with ids and headers, in order of key. */
export function openOurs(connectionString: string, groups: readonly string[] = ['g0']): Promise<Ours> {
  const pool = new pg.Pool({ connectionString, max: 10 })
  return openOn({ sql: pgClient(pool) }, () => pool.end(), groups)
}

/** The same on a database that the caller has opened. */
export async function openOn(
  options: Parameters<typeof postgresTransport>[0],
  end: () => Promise<void>,
  groups: readonly string[] = ['g0'],
): Promise<Ours> {
  const transport = postgresTransport(options)
  const channel = defineChannel(`bench${groups.length}`, {
    payload: Schema,
    key: ({ key }: Payload) => key,
    partitions: 4,
    groups,
  })
  const arrivals: { now: Arrivals | undefined } = { now: undefined }
  const bindings = groups.map((group) =>
    sink(channel, { group, concurrency: 4, prefetch: TAKEN, onFailure: 'drop' }, () => arrivals.now?.note()),
  )
  const binder = createBinder({ service: 'bench', transport, sends: [channel], bindings })
  await binder.start()
  await binder.ready()
  return new Ours({ binder, channel, groups, end, arrivals })
}

interface OursFields {
  readonly binder: Binder
  readonly channel: Channel<Payload, Payload>
  readonly groups: readonly string[]
  readonly end: () => Promise<void>
  readonly arrivals: { now: Arrivals | undefined }
}

export class Ours implements Side {
  readonly name = 'concordat'
  readonly #binder: Binder
  readonly #channel: Channel<Payload, Payload>
  readonly #groups: readonly string[]
  readonly #end: () => Promise<void>
  readonly #arrivals: { now: Arrivals | undefined }

  constructor({ binder, channel, groups, end, arrivals }: OursFields) {
    this.#binder = binder
    this.#channel = channel
    this.#groups = groups
    this.#end = end
    this.#arrivals = arrivals
    this.#each((name) => binder.binding(name).pause())
  }

  publish(payloads: readonly Payload[], inCallsOf: number = CALL): Promise<Measured> {
    return timed(payloads.length, async () => {
      for (const call of calls(payloads, inCallsOf)) await this.#binder.sendBatch(this.#channel, call)
    })
  }

  singly(payloads: readonly Payload[]): Promise<Measured> {
    return timed(payloads.length, () => atOnce(payloads, (payload) => this.#binder.send(this.#channel, payload)))
  }

  async consume(count: number): Promise<Measured> {
    const arrivals = new Arrivals(count * this.#groups.length)
    this.#arrivals.now = arrivals
    this.#each((name) => this.#binder.binding(name).resume())
    const { ms } = await arrivals.measured()
    this.#each((name) => this.#binder.binding(name).pause())
    return { units: count, ms }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#binder.close()
    await this.#end()
  }

  #each(act: (name: string) => unknown): void {
    for (const group of this.#groups) act(`${this.#channel.name}.${group}`)
  }
}
