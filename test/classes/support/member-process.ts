/** A process with one member of a group, on any transport. It reports each begin and end of a handler call to its parent. */
import { createBinder, defineChannel, sink } from 'concordat/binder'
import { rabbitTransport } from 'concordat/binder/rabbitmq'
import { silentLogger } from 'concordat/core'
import { pgClient } from 'concordat/core/pg'
import type { Transport } from 'concordat/extension'
import { postgresTransport } from 'concordat/postgres'
import pg from 'pg'
import { z } from 'zod'
import { kafkajsOn, platformaticOn } from '../../support/kafka-driver.ts'

/** Time for which a broker keeps the assignment of a silent member. */
export const SESSION_MS = 3_000

export const TRANSPORTS = ['kafkajs', 'platformatic', 'rabbitmq', 'postgres'] as const

export interface MemberOptions {
  readonly on: (typeof TRANSPORTS)[number]
  readonly url: string
  readonly channel: string
}

/** The clock is the machine's monotonic one, which all processes share. */
export type MemberReport =
  | { readonly did: 'ready' }
  | { readonly did: 'began' | 'ended'; readonly n: number; readonly atNs: bigint }

export const channelOf = ({ channel }: MemberOptions) =>
  defineChannel(channel, { payload: z.object({ n: z.number() }), partitions: 4, groups: ['g'] })

export function memberTransport({ on, url }: MemberOptions): Transport {
  const session = { sessionTimeoutMs: SESSION_MS, heartbeatIntervalMs: 300, rebalanceTimeoutMs: 2 * SESSION_MS }
  switch (on) {
    case 'kafkajs':
      return kafkajsOn(url, session)
    case 'platformatic':
      return platformaticOn(url, session)
    case 'rabbitmq':
      return rabbitTransport({ url: `${url}?heartbeat=${SESSION_MS / 1_000}`, rebalanceMs: 300 })
    case 'postgres':
      return postgresTransport({
        sql: pgClient(new pg.Pool({ connectionString: url, max: 4 })),
        leaseMs: SESSION_MS,
        pollMs: 100,
      })
  }
}

const report = (what: MemberReport): void => void process.send?.(what)

if (process.argv[2] !== undefined && process.send !== undefined) {
  const options = JSON.parse(process.argv[2]) as MemberOptions
  const handler = async ({ n }: { readonly n: number }): Promise<void> => {
    report({ did: 'began', n, atNs: process.hrtime.bigint() })
    await new Promise((resolve) => setTimeout(resolve, 10))
    report({ did: 'ended', n, atNs: process.hrtime.bigint() })
  }
  const binder = createBinder({
    service: 'members',
    transport: memberTransport(options),
    logger: silentLogger,
    bindings: [sink(channelOf(options), { group: 'g', concurrency: 4 }, handler)],
  })
  await binder.start()
  await binder.ready()
  report({ did: 'ready' })
}
