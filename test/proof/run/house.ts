/** The servers of a run, on data that outlives them. */
import { pgClient } from 'concordat/core/pg'
import { type PrivateServer, startServer } from '../../support/servers/index.ts'
import { freePorts, type Ports } from '../../support/servers/private-server.ts'
import type { RunOptions } from '../command-line.ts'
import type { Place, TransportName } from '../place.ts'
import { createParticipant, createShop, poolAt } from '../tables.ts'
import type { RunFolder } from './folder.ts'
import { type ServerName, serversOf } from './plan.ts'

const SETTINGS: Readonly<Record<ServerName, Readonly<Record<string, string>>>> = {
  // No confirmed data may be lost with a kill.
  postgres: { fsync: 'on', max_connections: '300', shared_buffers: '256MB', max_wal_size: '2GB' },
  redis: { appendonly: 'yes', appendfsync: 'always' },
  rabbitmq: {},
  kafka: {},
}

export async function portsFor({ transport }: RunOptions): Promise<Partial<Record<ServerName, Ports>>> {
  const ports: Partial<Record<ServerName, Ports>> = {}
  for (const server of serversOf(transport)) ports[server] = await freePorts()
  return ports
}

export class House {
  readonly servers: ReadonlyMap<ServerName, PrivateServer>
  readonly place: Place

  private constructor(servers: ReadonlyMap<ServerName, PrivateServer>, transport: TransportName) {
    this.servers = servers
    this.place = placeOf(servers, transport)
  }

  static async open(folder: RunFolder, signal: AbortSignal): Promise<House> {
    const { options, ports } = folder.file
    const names = serversOf(options.transport)
    const started = await Promise.allSettled(
      names.map((name) =>
        startServer(name, { signal, settings: SETTINGS[name], ports: ports[name], keepIn: folder.serverFolder(name) }),
      ),
    )
    const servers = new Map<ServerName, PrivateServer>()
    for (const [index, start] of started.entries()) {
      if (start.status === 'fulfilled') servers.set(names[index] as ServerName, start.value)
    }
    try {
      const failed = started.find((start) => start.status === 'rejected')
      if (failed !== undefined) throw failed.reason
      const house = new House(servers, options.transport)
      await house.#furnish()
      return house
    } catch (error) {
      await stopAll(servers)
      throw error
    }
  }

  server(name: ServerName): PrivateServer {
    const server = this.servers.get(name)
    if (server === undefined) throw new Error(`there is no ${name} in this run`)
    return server
  }

  async close(): Promise<void> {
    await stopAll(this.servers)
  }

  async #furnish(): Promise<void> {
    const pool = poolAt(this.place.shop, 2)
    try {
      const sql = pgClient(pool)
      for (const name of ['payments', 'stock'] as const) {
        const { rows } = await sql.query('SELECT 1 FROM pg_database WHERE datname = $1', [name])
        if (rows.length === 0) await sql.query(`CREATE DATABASE ${name}`)
      }
      await createShop(sql)
    } finally {
      await pool.end()
    }
    for (const name of ['payments', 'stock'] as const) {
      const own = poolAt(this.place[name], 2)
      try {
        await createParticipant(pgClient(own), name)
      } finally {
        await own.end()
      }
    }
  }
}

async function stopAll(servers: ReadonlyMap<ServerName, PrivateServer>): Promise<void> {
  await Promise.all([...servers.values()].map((server) => server.stop()))
}

function placeOf(servers: ReadonlyMap<ServerName, PrivateServer>, transport: TransportName): Place {
  const urlOf = (name: ServerName): string => servers.get(name)?.url ?? ''
  const shop = urlOf('postgres')
  const database = (name: string): string => {
    const url = new URL(shop)
    url.pathname = `/${name}`
    return url.href
  }
  return {
    shop,
    payments: database('payments'),
    stock: database('stock'),
    redis: urlOf('redis'),
    broker: { kind: transport, url: urlOf(transport) },
  }
}
