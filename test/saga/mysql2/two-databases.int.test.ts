/**
 * A transaction over two databases: ann's account is on PostgreSQL, bob's on MariaDB, and each service prepares on its
 * own.
 */

import { silentLogger } from 'concordat/core'
import { memoryBroker, memoryTransport } from 'concordat/memory'
import { defineSaga, Refusal } from 'concordat/saga'
import { xaParticipant } from 'concordat/saga/xa'
import { createService, type Service, type ServiceOptions } from 'concordat/service'
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest'
import { z } from 'zod'
import { describeWith, type PrivateServer, startServer } from '../../support/servers/index.ts'
import { until } from '../../support/until.ts'
import { type BankDatabase, bankService, branches, channels, openBank, payment, transfer } from '../support/banks.ts'
import { type MariaDatabase, openMaria } from '../support/maria.ts'
import { FAST } from '../support/world.ts'

describeWith(['postgres', 'mariadb'], 'money between PostgreSQL and MariaDB', { private: true }, () => {
  let postgres: PrivateServer
  let server: PrivateServer
  let banks: { a: BankDatabase; b: BankDatabase }
  let maria: MariaDatabase
  let broker = memoryBroker()
  const services = new Set<Service>()
  let ids = 0

  beforeAll(async () => {
    ;[postgres, server] = await Promise.all([startServer('postgres'), startServer('mariadb')])
    banks = { a: await openBank(postgres.url, 'bank_a', 'ann'), b: await openBank(postgres.url, 'bank_b', 'nobody') }
    maria = await openMaria(server.url, 'bank_b')
    await maria.pool.query(
      'CREATE TABLE accounts (id varchar(40) PRIMARY KEY, cents int NOT NULL, CHECK (cents >= 0)) ENGINE=InnoDB',
    )
    await maria.pool.query('CREATE TABLE moves (`key` varchar(200) PRIMARY KEY) ENGINE=InnoDB')
    await maria.pool.query(`INSERT INTO accounts VALUES ('bob', 1000)`)
  }, 120_000)
  afterEach(async () => {
    for (const service of [...services].reverse()) await service.close()
    services.clear()
    broker = memoryBroker()
  })
  afterAll(async () => {
    await Promise.all([banks.a.end(), banks.b.end(), maria.end()])
    await Promise.all([postgres.stop(), server.stop()])
  })

  async function up(service: Service): Promise<Service> {
    services.add(service)
    await service.start()
    return service
  }

  const bankA = (): Promise<Service> => up(bankService('a', banks.a.sql, broker))

  function bankB(more: Partial<ServiceOptions> = {}, concurrency = 1): Promise<Service> {
    const options = { group: 'bank', backoff: FAST, resource: maria.resource, concurrency } as const
    const binding = xaParticipant(channels.b, options, async ({ account, cents }, { tx, key }) => {
      const { rowCount } = await tx.query('UPDATE accounts SET cents = cents + ? WHERE id = ?', [cents, account])
      if (rowCount === 0) throw new Refusal('bank.unknown', `there is no account ${account}`)
      await tx.query('INSERT INTO moves VALUES (?)', [key])
    })
    const transport = memoryTransport({ broker })
    const own = { name: 'bank-b', sql: banks.b.sql, transport, bindings: [binding], logger: silentLogger }
    return up(createService({ ...own, ...more } as ServiceOptions))
  }

  const coordinating = (): Promise<Service> =>
    up(
      createService({
        name: 'orders',
        sql: banks.a.sql,
        schema: 'orders',
        transport: memoryTransport({ broker }),
        sagas: [transfer, payment],
        logger: silentLogger,
        parts: { coordinator: { pollMs: 20 } },
      }),
    )

  async function money(): Promise<readonly [ann: number, bob: number]> {
    const [row] = await maria.rows<{ cents: number }>(`SELECT cents FROM accounts WHERE id = 'bob'`)
    return [await banks.a.balance('ann'), row?.cents ?? Number.NaN]
  }

  async function nothingIsLeft(): Promise<void> {
    const left = async (): Promise<readonly string[]> => [...(await banks.a.prepared()), ...(await maria.prepared())]
    await until('nothing is prepared', async () => (await left()).length === 0, 90_000)
    await until('no lock is held', async () => (await maria.transactions()) === 0)
  }

  test('a saga commits both sides once it is decided, and a refused one neither', async () => {
    const [ann, bob] = await money()
    await bankA()
    await bankB()
    const orders = await coordinating()
    const run = await orders.run(transfer, { id: `t${++ids}`, input: { from: 'ann', to: 'bob', cents: 100 } })
    expect(await run.outcome({ timeoutMs: 30_000 })).toMatchObject({ status: 'completed' })
    const refused = await orders.run(transfer, { id: `t${++ids}`, input: { from: 'ann', to: 'eve', cents: 100 } })
    expect(await refused.outcome({ timeoutMs: 30_000 })).toMatchObject({
      status: 'compensated',
      failure: { code: 'bank.unknown' },
    })
    expect(await money()).toEqual([ann - 100, bob + 100])
    await nothingIsLeft()
  })

  test('a transaction that is just code commits both sides when it returns, and none when it throws', async () => {
    const [ann, bob] = await money()
    await bankA()
    await bankB()
    const orders = await coordinating()
    const pay = (id: string, fails: boolean): Promise<string> =>
      orders.globalTransaction(payment, { id, input: { from: 'ann', to: 'bob', cents: 50 } }, async (global) => {
        await global.call(branches.a, { account: 'ann', cents: -50 })
        await global.call(branches.b, { account: 'bob', cents: 50 })
        if (fails) throw new Error('after all not')
        return 'paid'
      })
    expect(await pay(`g${++ids}`, false)).toBe('paid')
    await expect(pay(`g${++ids}`, true)).rejects.toThrow('after all not')
    expect(await money()).toEqual([ann - 50, bob + 50])
    await nothingIsLeft()
  })

  test('commits on both sides though MariaDB is killed while all is prepared, and comes back', async () => {
    const [ann, bob] = await money()
    await bankA()
    await bankB()
    const orders = await coordinating()
    const id = `g${++ids}`
    const paid = orders.globalTransaction(
      payment,
      { id, input: { from: 'ann', to: 'bob', cents: 10 } },
      async (global) => {
        await global.call(branches.a, { account: 'ann', cents: -10 })
        await global.call(branches.b, { account: 'bob', cents: 10 })
        await server.kill()
        await server.start()
        return 'paid'
      },
    )
    expect(await paid).toBe('paid')
    expect(await money()).toEqual([ann - 10, bob + 10])
    await nothingIsLeft()
  })

  test('many at once, half of them aborted, lose and make no cent', async () => {
    const numbers = Array.from({ length: 12 }, (_, i) => i)
    for (const i of numbers) {
      await banks.a.sql.query('INSERT INTO accounts VALUES ($1, 100)', [`a${i}`])
      await maria.pool.query('INSERT INTO accounts VALUES (?, 100)', [`b${i}`])
    }
    await bankA()
    await bankB()
    const orders = await coordinating()
    const pay = (i: number): Promise<string> =>
      orders
        .globalTransaction(
          payment,
          { id: `m${i}`, input: { from: `a${i}`, to: `b${i}`, cents: 1 } },
          async (global) => {
            await Promise.all([
              global.call(branches.a, { account: `a${i}`, cents: -1 }),
              global.call(branches.b, { account: `b${i}`, cents: 1 }),
            ])
            if (i % 2 === 0) throw new Error('after all not')
            return 'paid'
          },
        )
        .catch(() => 'not paid')
    const fates = await Promise.all(numbers.map(pay))
    await nothingIsLeft()
    const rows = await maria.rows<{ id: string; cents: number }>('SELECT id, cents FROM accounts')
    for (const i of numbers) {
      const moved = fates[i] === 'paid' ? 1 : 0
      expect(rows.find(({ id }) => id === `b${i}`)?.cents).toBe(100 + moved)
      expect(await banks.a.balance(`a${i}`)).toBe(100 - moved)
    }
    expect(fates.filter((fate) => fate === 'paid')).not.toEqual([])
  }, 170_000)

  test.each([1, 4])(
    'sagas that contend for one row of MariaDB have it one after the other (concurrency %i)',
    async (concurrency) => {
      const more = { maxAttempts: 1_000, initialMs: 20, maxMs: 100 }
      const hot = defineSaga('hot', { version: 1, input: z.object({ cents: z.number() }) })
        .tcc('move', {
          to: channels.b,
          request: ({ input }) => ({ account: 'bob', ...input }),
          retry: more,
          confirmRetry: more,
        })
        .step('decide', { invoke: () => {}, compensate: 'none' })
      const [, bob] = await money()
      const service = await bankB({ sagas: [hot] }, concurrency)
      const ends = Array.from({ length: 12 }, async (_, i) => {
        const run = await service.run(hot, { id: `hot-${concurrency}-${i}`, input: { cents: 1 } })
        return (await run.outcome({ timeoutMs: 60_000 })).status
      })
      expect(new Set(await Promise.all(ends))).toEqual(new Set(['completed']))
      expect((await money())[1]).toBe(bob + 12)
      await nothingIsLeft()
    },
    170_000,
  )

  test('a transaction that stays prepared on MariaDB is in the health of its service, with the remedy', async () => {
    const service = await bankB({ parts: { prepared: { olderThanMs: 1 } } })
    const orphan = { gid: 'concordat:0123456789012345678901:1:transfer/t-9/deposit', key: 'transfer/t-9/deposit' }
    const call = { ...orphan, whose: 'concordat:0123456789012345678901:', lockTimeoutMs: 1_000, idleMs: 60_000 }
    await maria.resource.prepare({ ...call, isCurrent: async () => true }, (tx) => tx.query('SELECT 1'))
    await service.close()
    services.delete(service)
    const other = await bankB({ parts: { prepared: { olderThanMs: 1 } } })
    await until('it is seen', () => other.health().parts['prepared']?.status === 'down')
    expect(other.health()).toMatchObject({ status: 'degraded', ready: true, parts: { prepared: { old: [orphan] } } })
    expect(other.health().parts['prepared']?.detail).toContain('npx concordat saga show transfer/t-9')
    await maria.endByHand('ROLLBACK', 't-9')
  })

  test('a participant whose table is missing does not begin, and names the call to make', async () => {
    await maria.pool.query('RENAME TABLE concordat_xa TO hidden')
    try {
      await expect(maria.resource.ready()).rejects.toMatchObject({ code: 'core.tables_missing' })
    } finally {
      await maria.pool.query('RENAME TABLE hidden TO concordat_xa')
    }
  })
})
