/** Set-up that both of our processes share: the channel, the broker, the database. */
import { defineChannel } from 'concordat/binder'
import { rabbitTransport } from 'concordat/binder/rabbitmq'
import { pgClient, pgListener } from 'concordat/core/pg'
import type { Transport } from 'concordat/extension'
import { postgresTransport } from 'concordat/postgres'
import type { ServiceOptions } from 'concordat/service'
import pg from 'pg'
import { z } from 'zod'

const PARTITIONS = 8

export const Numbered = z.object({ n: z.number() })
export const commands = defineChannel('work.commands', {
  payload: Numbered,
  partitions: PARTITIONS,
  groups: ['work'],
})

const [url = '', broker = '', connections = '', concurrency = ''] = process.argv.slice(2)

export const atOnce = Number(concurrency)

export function surroundings(): Pick<ServiceOptions, 'sql' | 'listener' | 'transport'> {
  return { ...database(url), transport: transportTo(broker) }
}

function transportTo(address: string): Transport {
  return address.startsWith('amqp') ? rabbitTransport({ url: address }) : postgresTransport(database(address))
}

function database(connectionString: string): Pick<Parameters<typeof postgresTransport>[0], 'sql' | 'listener'> {
  return {
    sql: pgClient(new pg.Pool({ connectionString, max: Number(connections) })),
    listener: pgListener({ connect: () => new pg.Client({ connectionString }) }),
  }
}
