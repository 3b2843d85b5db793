import { pgClient, pgListener } from 'concordat/core/pg'
import { postgresTransport } from 'concordat/postgres'
import pg from 'pg'
import { transportConformance } from '../../conformance/transport.ts'
import { describeWith, startServer } from '../../support/servers/index.ts'

describeWith(['postgres'], 'postgres', { private: true }, () => {
  transportConformance('postgres', async () => {
    const server = await startServer('postgres')
    const pools: pg.Pool[] = []
    const listener = pgListener({ connect: () => new pg.Client({ connectionString: server.url }) })
    return {
      // A pool for each, as in a process of its own: they notify each other through the server alone.
      transport: () => {
        const pool = new pg.Pool({ connectionString: server.url, max: 4, connectionTimeoutMillis: 5_000 })
        pools.push(pool)
        return postgresTransport({ sql: pgClient(pool), listener })
      },
      broker: { kill: () => server.kill(), restart: () => server.start() },
      close: async () => {
        await listener.close()
        await Promise.all(pools.map((pool) => pool.end()))
        await server.stop()
      },
    }
  })
})
