import pg from 'pg'
import { until } from '../../until.ts'
import { runCommand } from '../command.ts'
import { account, binary, dataFolder, postgres } from '../postgres.ts'
import { type PrivateServer, type StartOptions, startPrivateServer } from '../private-server.ts'
import type { Site } from '../recipe.ts'
import { orStop, type ServerGroup, stopAll } from './group.ts'

/** A primary, and a standby without which nothing commits (`synchronous_standby_names = '*'`). */
export interface PostgresPair extends ServerGroup {
  readonly primary: PrivateServer
  readonly standby: PrivateServer
  /** Makes the standby the primary, which commits alone until it has a standby. The old primary must have ended. */
  promote(): Promise<void>
  /** The role of clients may not log in, and its connections end. @returns how many did */
  denyLogin(): Promise<number>
  allowLogin(): Promise<void>
  /** Makes the old primary, which was killed, a standby of the new one: a copy from the beginning. */
  rejoin(): Promise<void>
}

/** A role with all rights, besides the one that administers the servers. */
export const CLIENTS = 'clients'

export interface PostgresPairOptions extends Pick<StartOptions, 'signal' | 'settings'> {
  /** The port under which a standby reaches this primary (a proxy). @default its own */
  readonly via?: ((port: number) => Promise<number>) | undefined
}

export async function startPostgresPair({ signal, settings, via }: PostgresPairOptions = {}): Promise<PostgresPair> {
  const pair = new Pair(via ?? ((port) => Promise.resolve(port)))
  await pair.add({ signal, settings })
  return orStop(pair.servers, async () => {
    await withPostgres(
      pair.primary,
      async (client) => void (await client.query(`CREATE ROLE ${CLIENTS} LOGIN SUPERUSER`)),
    )
    await pair.add({ signal, settings })
    return pair
  })
}

class Pair implements PostgresPair {
  readonly servers: PrivateServer[] = []
  readonly #via: (port: number) => Promise<number>
  #primary = 0

  constructor(via: (port: number) => Promise<number>) {
    this.#via = via
  }

  get primary(): PrivateServer {
    return this.servers[this.#primary] as PrivateServer
  }

  get standby(): PrivateServer {
    return this.servers[1 - this.#primary] as PrivateServer
  }

  async add(options: StartOptions): Promise<void> {
    this.servers.push(await startPrivateServer({ ...postgres, prepare: (site) => this.#prepare(site) }, options))
    if (this.servers.length === 2) await this.#waitForStandby()
  }

  async promote(): Promise<void> {
    await withPostgres(this.standby, async (client) => {
      await client.query('SELECT pg_promote(true, 30)')
      await client.query("ALTER SYSTEM SET synchronous_standby_names = ''")
      await client.query('SELECT pg_reload_conf()')
    })
    this.#primary = 1 - this.#primary
  }

  async denyLogin(): Promise<number> {
    let ended = 0
    await withPostgres(this.primary, async (client) => {
      await client.query(`ALTER ROLE ${CLIENTS} NOLOGIN`)
      const found = await client.query('SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = $1', [
        CLIENTS,
      ])
      ended = found.rows.length
    })
    return ended
  }

  async allowLogin(): Promise<void> {
    await withPostgres(this.primary, async (client) => void (await client.query(`ALTER ROLE ${CLIENTS} LOGIN`)))
  }

  async rejoin(): Promise<void> {
    await this.standby.renew()
    await this.standby.start()
    await this.#waitForStandby()
  }

  async stop(): Promise<void> {
    await stopAll(this.servers)
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.stop()
  }

  /** The first folder is a new database, every later one a copy of the primary's. */
  async #prepare(site: Site): Promise<void> {
    if (this.servers.length === 0) return postgres.prepare(site)
    const source = `host=127.0.0.1 port=${await this.#via(portOf(this.primary))} user=postgres application_name=standby`
    const args = ['-D', dataFolder(site), '-d', source, '-R', '-X', 'stream', '--checkpoint=fast', '--no-sync']
    return runCommand({ file: binary('pg_basebackup'), args, account: account() }, site.folder)
  }

  /** Until it streams; nothing commits without one from then on. */
  async #waitForStandby(): Promise<void> {
    await withPostgres(this.primary, async (client) => {
      await until('the standby streams', async () => {
        const { rows } = await client.query("SELECT 1 FROM pg_stat_replication WHERE state = 'streaming'")
        return rows.length === 1
      })
      await client.query("ALTER SYSTEM SET synchronous_standby_names = '*'")
      await client.query('SELECT pg_reload_conf()')
    })
  }
}

async function withPostgres(server: PrivateServer, work: (client: pg.Client) => Promise<void>): Promise<void> {
  const client = new pg.Client({ connectionString: server.url, connectionTimeoutMillis: 5_000, query_timeout: 35_000 })
  client.on('error', () => {})
  await client.connect()
  try {
    await work(client)
  } finally {
    await client.end()
  }
}

/** The address that clients use. */
export const portOf = (server: PrivateServer): number => Number(new URL(server.url).port)
