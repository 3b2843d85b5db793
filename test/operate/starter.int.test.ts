/** The project of `concordat init` on a real PostgreSQL: database and broker of both services. */
import { execFile } from 'node:child_process'
import { resolve } from 'node:path'
import { promisify } from 'node:util'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { createDatabase, type TestDatabase } from '../outbox/support/postgres.ts'
import { describeWith } from '../support/servers/index.ts'

const MAIN = ['--conditions=concordat-source', resolve('examples/starter/src/main.ts')]
const SAYS = 'o-1: completed\no-2: compensated: stock.sold_out\no-3: completed\n'

describeWith(['postgres'], 'the starter on PostgreSQL', () => {
  let database: TestDatabase

  beforeAll(async () => {
    database = await createDatabase()
  })
  afterAll(() => database.drop())

  const start = async (): Promise<string> => {
    const env = { ...process.env, DATABASE_URL: database.url }
    return (await promisify(execFile)(process.execPath, MAIN, { env })).stdout
  }

  test('places orders, and finds them placed when it is started again', async () => {
    expect(await start()).toBe(SAYS)
    expect(await start()).toBe(SAYS)
  })
})
