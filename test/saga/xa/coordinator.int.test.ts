/** Sagas and global transactions whose participants prepare: two banks, a database each, on a server of their own. */

import { silentLogger } from 'concordat/core'
import { memoryBroker, memoryTransport } from 'concordat/memory'
import { createService, type Service } from 'concordat/service'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { describeWith, type PrivateServer, startServer } from '../../support/servers/index.ts'
import { until } from '../../support/until.ts'
import { type BankDatabase, bankService, branches, openBank, payment, transfer } from '../support/banks.ts'

describeWith(['postgres'], 'money between two databases by XA', () => {
  let server: PrivateServer
  let banks: { a: BankDatabase; b: BankDatabase }
  let broker = memoryBroker()
  const services = new Set<Service>()
  let ids = 0

  beforeAll(async () => {
    server = await startServer('postgres', { settings: { max_prepared_transactions: '20' } })
    banks = { a: await openBank(server.url, 'bank_a', 'ann'), b: await openBank(server.url, 'bank_b', 'bob') }
  }, 120_000)
  afterEach(async () => {
    for (const service of [...services].reverse()) await service.close()
    services.clear()
    broker = memoryBroker()
  })
  afterAll(async () => {
    await banks.a.end()
    await banks.b.end()
    await server.stop()
  })

  async function up(service: Service): Promise<Service> {
    services.add(service)
    await service.start()
    return service
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
  const bank = (name: 'a' | 'b'): Promise<Service> => up(bankService(name, banks[name].sql, broker))

  async function money(): Promise<readonly [number, number]> {
    return [await banks.a.balance('ann'), await banks.b.balance('bob')]
  }

  async function left(): Promise<readonly string[]> {
    return [...(await banks.a.prepared()), ...(await banks.b.prepared())]
  }

  async function nothingIsLeft(): Promise<void> {
    await until('nothing is prepared', async () => (await left()).length === 0)
  }

  test('a saga commits both sides once it is decided', async () => {
    const [ann, bob] = await money()
    await bank('a')
    await bank('b')
    const orders = await coordinating()
    const input = { from: 'ann', to: 'bob', cents: 100 }
    const run = await orders.run(transfer, { id: `t${++ids}`, input })
    const outcome = await run.outcome({ timeoutMs: 30_000 })
    expect(outcome).toMatchObject({ status: 'completed', results: { withdraw: { cents: ann - 100 } } })
    expect(await money()).toEqual([ann - 100, bob + 100])
    expect(await left()).toEqual([])
  })

  test('a saga that is refused rolls back the side that was prepared', async () => {
    const before = await money()
    await bank('a')
    await bank('b')
    const orders = await coordinating()
    const input = { from: 'ann', to: 'nobody', cents: 100 }
    const run = await orders.run(transfer, { id: `t${++ids}`, input })
    expect(await run.outcome({ timeoutMs: 30_000 })).toMatchObject({
      status: 'compensated',
      failure: { code: 'bank.no_funds' },
    })
    expect(await money()).toEqual(before)
    expect(await left()).toEqual([])
  })

  describe('a transaction that is just code', () => {
    test('commits both sides when the code returns, and none when it throws', async () => {
      const [ann, bob] = await money()
      await bank('a')
      await bank('b')
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
  })
})
