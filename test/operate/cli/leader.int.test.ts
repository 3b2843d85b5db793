import { createOperator } from '@concordat/cli'
import { postgresLocks } from 'concordat/postgres'
import { expect, onTestFinished, test } from 'vitest'
import { createDatabase } from '../../outbox/support/postgres.ts'
import { describeWith } from '../../support/servers/index.ts'
import { until } from '../../support/until.ts'
import { ranHere } from '../support/cli.ts'

describeWith(['postgres'], 'npx concordat leader', () => {
  test('step-down ends the lock delay that is left of a term', async () => {
    const database = await createDatabase()
    onTestFinished(() => database.drop())
    const { sql } = database
    await createOperator({ sql }).migrate({ by: 'test', reason: 'setup' })
    const locks = postgresLocks({ sql, owner: 'shop-9' })
    onTestFinished(() => locks.close())
    await locks.migrate()
    const key = 'election/nightly'
    const lost = await locks.acquire(key, { ttlMs: 200, maxHoldMs: 0, lockDelayMs: 600_000 })
    await until('the term is over', async () => (await locks.inspect(key))?.holders[0]?.expiresInMs === 0)
    const order = ['leader', 'step-down', 'nightly', '--reason', 'its machine is gone', '--yes', '--json']
    const { stdout } = await ranHere(order, { CONCORDAT_POSTGRES: database.url, CONCORDAT_BY: 'ann' })
    expect(JSON.parse(stdout)).toMatchObject({ done: true, ended: [{ instance: 'shop-9', term: lost.token }] })
  })
})
