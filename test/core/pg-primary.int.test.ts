import { pgClient, pgPrimary } from 'concordat/core/pg'
import pg from 'pg'
import { expect, onTestFinished, test } from 'vitest'
import { startPostgresPair } from '../support/servers/cluster/index.ts'
import { describeWith } from '../support/servers/index.ts'

const LIMITS = { max: 3, connectionTimeoutMillis: 5_000, query_timeout: 10_000 }

function poolsAt(...servers: ReadonlyArray<{ readonly url: string }>): pg.Pool[] {
  const pools = servers.map(({ url }) => new pg.Pool({ connectionString: url, ...LIMITS }))
  onTestFinished(async () => void (await Promise.all(pools.map((pool) => pool.end()))))
  return pools
}

describeWith(['postgres'], 'pgPrimary', { private: true }, () => {
  test('writes to the writable server, in any order of addresses, and follows a promotion', async () => {
    await using pair = await startPostgresPair()
    const sql = pgClient(pgPrimary(poolsAt(pair.standby, pair.primary)))
    await sql.query('CREATE TABLE kept (n int)')
    const write = (n: number) =>
      sql.transaction(async (tx) => void (await tx.query('INSERT INTO kept VALUES ($1)', [n])))
    await write(1)
    await pair.primary.kill()
    // The write uses a connection that the pool still has, or a new one to the dead or the read-only server.
    const failure = write(2).catch(({ code, message }: { code?: string; message: string }) => code ?? message)
    expect(await failure).toMatch(/^(ECONNREFUSED|25006|57P01|Connection terminated unexpectedly)$/)
    await pair.promote()
    await write(3)
    await pair.rejoin()
    await write(4)
    const { rows } = await sql.query('SELECT n FROM kept ORDER BY n')
    expect(rows).toEqual([{ n: 1 }, { n: 3 }, { n: 4 }])
  })
})
