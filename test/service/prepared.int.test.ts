/** Transactions that stay prepared, as a service and `doctor` report them. */

import { createOperator } from '@concordat/cli'
import { memoryBroker, memoryTransport } from 'concordat/memory'
import { createOutbox } from 'concordat/outbox'
import { defineSaga, localTarget, migrateParticipant } from 'concordat/saga'
import { createService, type Service, type ServiceOptions } from 'concordat/service'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { z } from 'zod'
import { type BankDatabase, bankBinding, channels, openBank } from '../saga/support/banks.ts'
import { LogLines } from '../support/log-lines.ts'
import { describeWith, type PrivateServer, startServer } from '../support/servers/index.ts'
import { until } from '../support/until.ts'

const GID = 'concordat:0123456789012345678901:1:transfer/t-1/withdraw'

describeWith(['postgres'], 'a transaction that stays prepared', { private: true }, () => {
  let server: PrivateServer
  let bank: BankDatabase
  const services: Service[] = []

  beforeAll(async () => {
    server = await startServer('postgres', { settings: { fsync: 'off' } })
    bank = await openBank(server.url, 'bank', 'ann')
  })
  afterEach(async () => {
    for (const service of services.splice(0)) await service.close()
    for (const gid of await bank.prepared()) await bank.sql.query(`ROLLBACK PREPARED '${gid}'`)
  })
  afterAll(async () => {
    await bank.end()
    await server.stop()
  })

  async function start(more: Partial<ServiceOptions> = {}): Promise<Service> {
    const transport = memoryTransport({ broker: memoryBroker() })
    const bindings = [bankBinding('a')]
    const service = createService({ name: 'bank-a', sql: bank.sql, transport, bindings, ...more } as ServiceOptions)
    services.push(service)
    await service.start()
    return service
  }

  const orphan = (gid: string): Promise<unknown> | undefined =>
    bank.sql.prepare?.(gid, (tx) => tx.query(`UPDATE accounts SET cents = cents - 1 WHERE id = 'ann'`))

  test('is in the health and once in the log of a service with an XA participant, with what to do', async () => {
    await orphan(GID)
    const log = new LogLines()
    const service = await start({ parts: { prepared: { olderThanMs: 1 } }, logger: log.logger })
    await until('it is seen', () => service.health().parts['prepared']?.status === 'down')
    const { status, ready, parts } = service.health()
    expect([status, ready]).toEqual(['degraded', true])
    expect(parts['prepared']?.detail).toMatch(
      /^concordat:\S+ is prepared for \d+ s: act on its saga: npx concordat saga show transfer\/t-1\./,
    )
    expect(parts['prepared']).toMatchObject({ old: [{ gid: GID, key: 'transfer/t-1/withdraw' }] })
    expect(
      log.lines.filter(({ message }) => message.startsWith('a transaction is prepared for too long')),
    ).toHaveLength(1)
  })

  test('is no trouble while it is young', async () => {
    await orphan(GID)
    const service = await start()
    await until('it has looked', () => service.health().parts['prepared']?.status !== 'idle')
    expect(service.health().parts['prepared']).toEqual({ status: 'up', old: [] })
    expect(service.health().status).toBe('up')
  })

  describe('in a database beside that of the service', () => {
    let other: BankDatabase
    beforeAll(async () => {
      other = await openBank(server.url, 'other', 'bob')
      await migrateParticipant(bank.sql)
    })
    afterAll(() => other.end())

    const seen = async (service: Service) => {
      await until('it is seen', () => service.health().parts['prepared']?.status === 'down')
      expect(service.health().parts['prepared']).toMatchObject({ old: [{ gid: GID }] })
    }
    const parts = { prepared: { olderThanMs: 1 } }
    const Move = z.object({ account: z.string(), cents: z.number() })

    test('is found where the participant has its own', async () => {
      await orphan(GID)
      const outbox = createOutbox({ sql: bank.sql, service: 'bank-a', schema: 'own' })
      await outbox.migrate()
      const bindings = [bankBinding('a', { sql: bank.sql, outbox })]
      await seen(await start({ sql: other.sql, bindings, parts }))
    })

    test('is found where a participant of a sub-saga has its own', async () => {
      await orphan(GID)
      const to = localTarget(channels.a, bankBinding('a'), { sql: bank.sql })
      const inner = defineSaga('inner', { version: 1, input: Move }).tcc('move', {
        to,
        request: ({ input }) => input,
      })
      const outer = defineSaga('outer', { version: 1, input: Move }).saga('inner', {
        saga: inner,
        input: ({ input }) => input,
        compensate: 'none',
      })
      await seen(await start({ sql: other.sql, bindings: [], sagas: [outer, inner], parts }))
    })
  })

  test('is not looked up by a service without an XA participant', async () => {
    expect((await start({ bindings: [] })).health().parts).not.toHaveProperty('prepared')
  })

  test('has a limit that is a whole number of ms', async () => {
    const parts = { prepared: { olderThanMs: 0 } }
    await expect(start({ parts })).rejects.toThrow(
      'createService.parts.prepared.olderThanMs: expected a whole number >= 1',
    )
  })

  test('is named by doctor, ours with its saga and others as foreign', async () => {
    await start()
    await orphan(GID)
    await bank.sql.prepare?.('theirs', (tx) => tx.query(`INSERT INTO accounts VALUES ('eve', 1)`))
    // Client whose server is five minutes ahead.
    const late = {
      ...bank.sql,
      query: (text: string, parameters?: readonly unknown[]) =>
        bank.sql.query(text, text.includes('ORDER BY prepared') ? [0] : parameters),
    } as typeof bank.sql
    const { lines } = await createOperator({ sql: late }).doctor()
    const found = lines.filter(({ check, status }) => check === 'prepared' && status === 'warn')
    expect(found).toEqual([
      expect.objectContaining({
        text: expect.stringContaining(`${GID} is prepared for`),
        remedy: expect.stringContaining('npx concordat saga show transfer/t-1'),
      }),
      expect.objectContaining({
        text: expect.stringContaining('theirs is prepared for'),
        remedy: expect.stringContaining('COMMIT PREPARED or ROLLBACK PREPARED'),
      }),
    ])
  })
})
