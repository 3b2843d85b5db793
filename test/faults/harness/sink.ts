import { randomUUID } from 'node:crypto'
import { pgClient } from 'concordat/core/pg'
import { createFence } from 'concordat/locks'
import { Redis } from 'ioredis'
import pg from 'pg'
import { type PrivateServer, startServer } from '../../support/servers/index.ts'
import { addressInEnvironment } from '../../support/servers/kinds.ts'
import { ledgerKey, type SinkAddress, type SinkClient } from './sinks.ts'

/** A write that a sink accepted. */
export interface Accepted {
  readonly token: number
  readonly holding: string
  readonly write: string
}

/** Writes that each sink accepted, in the order of acceptance. */
export type Ledgers = ReadonlyMap<SinkClient['name'], readonly Accepted[]>

/**
 * Resources that locks and terms protect: a fenced table in PostgreSQL, a fenced list in a Redis of its own. No fault
 * ever breaks them.
 */
export class Sink {
  readonly address: SinkAddress
  readonly #pool: pg.Pool
  readonly #client: Redis
  readonly #servers: readonly PrivateServer[]

  private constructor(address: SinkAddress, servers: readonly PrivateServer[]) {
    this.address = address
    this.#servers = servers
    this.#pool = new pg.Pool({ connectionString: address.postgresUrl, max: 3 })
    this.#pool.on('error', () => {})
    this.#client = new Redis(address.redisUrl)
    this.#client.on('error', () => {})
  }

  /** PostgreSQL at the address in the environment, else a private server. @throws ServerUnavailable */
  static async open(): Promise<Sink> {
    const servers: PrivateServer[] = []
    const start = async (kind: 'postgres' | 'redis', settings: Readonly<Record<string, string>>): Promise<string> => {
      const server = await startServer(kind, { settings })
      servers.push(server)
      return server.url
    }
    const schema = `faults_${randomUUID().replaceAll('-', '')}`
    try {
      const postgresUrl = addressInEnvironment('postgres') ?? (await start('postgres', { fsync: 'off' }))
      const redisUrl = await start('redis', {})
      const sink = new Sink({ postgresUrl, schema, redisUrl }, servers)
      await sink.#migrate()
      return sink
    } catch (error) {
      await Promise.all(servers.map((server) => server.stop()))
      throw error
    }
  }

  async ledgers(resource: string): Promise<Ledgers> {
    const { rows } = await this.#pool.query<Accepted>(
      `SELECT token::float8 AS token, holding, write FROM "${this.address.schema}".ledger
       WHERE resource = $1 ORDER BY number`,
      [resource],
    )
    const lines = await this.#client.lrange(ledgerKey(resource), 0, -1)
    const inRedis = lines.map((line) => JSON.parse(line) as Accepted)
    return new Map<SinkClient['name'], readonly Accepted[]>([
      ['postgres', rows],
      ['redis', inRedis],
    ])
  }

  async close(): Promise<void> {
    await this.#pool.query(`DROP SCHEMA IF EXISTS "${this.address.schema}" CASCADE`).catch(() => {})
    await this.#pool.end().catch(() => {})
    this.#client.disconnect()
    await Promise.all(this.#servers.map((server) => server.stop()))
  }

  /** The row of the guard is locked until the end of a transaction, so the numbers are in the order of commits. */
  async #migrate(): Promise<void> {
    const sql = pgClient(this.#pool)
    await createFence({ sql, schema: this.address.schema }).migrate()
    await sql.query(
      `CREATE TABLE "${this.address.schema}".ledger
       (number bigserial PRIMARY KEY, resource text NOT NULL, token bigint NOT NULL, holding text, write text)`,
    )
  }
}
