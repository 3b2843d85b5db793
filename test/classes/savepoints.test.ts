/**
 * Work that was rolled back to a savepoint has no consequences, though its transaction commits. Each part that acts after the commit is
 * a case here.
 */
import { readdirSync, readFileSync } from 'node:fs'
import { createBinder, defineChannel, type EncodedMessage } from 'concordat/binder'
import { type SqlTransaction, silentLogger } from 'concordat/core'
import { pgliteClient } from 'concordat/core/pglite'
import { createOutbox } from 'concordat/outbox'
import { postgresTransport } from 'concordat/postgres'
import { defineSaga } from 'concordat/saga'
import { createCoordinator } from 'concordat/saga/coordinator'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { z } from 'zod'
import { freshPglite } from '../support/pglite.ts'
import { until } from '../support/until.ts'

const Payload = z.object({ n: z.number() })
const orders = defineChannel('orders', { payload: Payload, groups: ['g'] })
const logged = defineChannel('logged', { payload: Payload, groups: ['g'] })
const charged: string[] = []
const charge = defineSaga('charge', { version: 1, input: Payload }).step('card', {
  invoke: ({ input, sagaId, key }) => void charged.push(`${input.n} for ${sagaId}, ${key}`),
  compensate: 'none',
})

describe('a transaction that commits after a rollback to a savepoint', () => {
  const database = freshPglite()
  const sql = pgliteClient(database)
  const transport = postgresTransport({ sql })
  const outbox = createOutbox({ sql, service: 'nested' })
  const inLog = createOutbox({ sql, service: 'nested', transport })
  const coordinator = createCoordinator({ service: 'nested', sql, outbox, sagas: [charge], logger: silentLogger })
  const binder = createBinder({ service: 'nested', transport, bindings: [], sends: [logged], logger: silentLogger })
  beforeAll(async () => {
    await database.waitReady
    await outbox.migrate()
    await coordinator.migrate()
    await transport.migrate()
    await binder.start()
    await coordinator.run()
  }, 60_000)
  afterAll(async () => {
    await coordinator.close()
    await binder.close()
    await database.close()
  })

  /** Does the work, goes back to before it, and commits. */
  const rolledBack = (
    work: (tx: SqlTransaction) => Promise<unknown>,
    again?: (tx: SqlTransaction) => Promise<unknown>,
  ) =>
    sql.transaction(async (tx) => {
      await tx.query('SAVEPOINT nested')
      await work(tx)
      await tx.query('ROLLBACK TO SAVEPOINT nested')
      await again?.(tx)
    })
  const start = (id: string, n: number) => (tx: SqlTransaction) => coordinator.start(tx, charge, { id, input: { n } })
  const settled = async (id: string) => {
    await coordinator.start(charge, { id, input: { n: 0 } })
    await until(`${id} is charged`, () => charged.some((line) => line.includes(id)))
  }

  test('runs no first step of a saga that was rolled back', async () => {
    await rolledBack(start('gone', 1))
    await settled('after-gone')
    expect(charged.filter((line) => line.includes('for gone'))).toEqual([])
    expect(await coordinator.list()).not.toContainEqual(expect.objectContaining({ id: 'gone' }))
  })

  test('runs the first step of a saga that was started again once, with the input that is stored', async () => {
    await rolledBack(start('same', 100), start('same', 100))
    await rolledBack(start('other', 100), start('other', 90))
    await until('both are charged', () => charged.length >= 2 && charged.some((line) => line.includes('other')))
    await settled('after-again')
    expect(charged.filter((line) => /for (same|other),/.test(line))).toEqual([
      '100 for same, charge/same/card',
      '90 for other, charge/other/card',
    ])
  })

  test('runs the first step of a saga that was started before the savepoint', async () => {
    await sql.transaction(async (tx) => {
      await start('kept', 7)(tx)
      await tx.query('SAVEPOINT nested')
      await tx.query('ROLLBACK TO SAVEPOINT nested')
    })
    await until('it is charged', () => charged.includes('7 for kept, charge/kept/card'))
  })

  test('remembers no graph of a saga whose registration was rolled back', async () => {
    const text = 'DELETE FROM concordat.saga_definition'
    const fresh = createCoordinator({ service: 'nested', sql, outbox, sagas: [charge], logger: silentLogger })
    await sql.query(text)
    await rolledBack((tx) => fresh.start(tx, charge, { id: 'unregistered', input: { n: 1 } }))
    await fresh.start(charge, { id: 'registered', input: { n: 1 } })
    expect((await sql.query('SELECT name FROM concordat.saga_definition')).rows).toEqual([{ name: 'charge' }])
    await fresh.close()
  })

  test('leaves no message in the outbox, nor in a log', async () => {
    const heard: number[] = []
    const stop = outbox.onAdded((partitions) => void heard.push(partitions.size))
    await rolledBack(async (tx) => {
      await outbox.add(tx, orders, { n: 1 })
      await inLog.addEncoded(tx, [(await inLog.encode(logged, { n: 1 })) as EncodedMessage])
    })
    stop()
    const { rows } = await sql.query('SELECT count(*)::int AS n FROM concordat.outbox')
    expect(rows).toEqual([{ n: 0 }])
    expect((await sql.query(`SELECT count(*)::int AS n FROM concordat.transport_log`)).rows).toEqual([{ n: 0 }])
  })

  test('is known to every part that acts after the commit', () => {
    const files = ['binder', 'bus', 'core', 'election', 'embedded', 'locks', 'operator', 'outbox', 'saga', 'service']
      .flatMap((folder) =>
        readdirSync(folder, { recursive: true, encoding: 'utf8' }).map((file) => `${folder}/${file}`),
      )
      .filter((file) => file.endsWith('.ts') && /\.afterCommit\?*\.*\(/.test(readFileSync(file, 'utf8')))
    // Wake-up hints, parts of a shared transaction, and the starter, which asks whether the transaction is whole.
    expect(files.toSorted()).toEqual([
      'binder/postgres/destination-directory.ts',
      'binder/postgres/log-publisher.ts',
      'core/sharing/savepoint.ts',
      'outbox/outbox.ts',
      'saga/coordinator/starter.ts',
    ])
  })
})
