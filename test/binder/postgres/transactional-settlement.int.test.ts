import { setTimeout as pause } from 'node:timers/promises'
import { type SqlClient, silentLogger, systemClock } from 'concordat/core'
import { pgClient } from 'concordat/core/pg'
import type { TransportDelivery } from 'concordat/extension'
import { postgresTransport } from 'concordat/postgres'
import pg from 'pg'
import { afterAll, beforeAll, expect, onTestFinished, test } from 'vitest'
import { createDatabase, type TestDatabase } from '../../outbox/support/postgres.ts'
import type { PostgresTransportOptions, SettlingTransactions } from '../../support/inside/binder.ts'
import { describeWith } from '../../support/servers/index.ts'
import { gate, until } from '../../support/until.ts'
import { numbered, Recorder } from '../rabbitmq/kit.ts'

const LEASE_MS = 2_000

describeWith(['postgres'], 'a position in the transaction of a handler', () => {
  let database: TestDatabase
  beforeAll(async () => {
    database = await createDatabase(4)
    await database.sql.query('CREATE TABLE effect (run text NOT NULL, id text NOT NULL)')
  })
  afterAll(() => database.drop())

  /** A process with a channel, of one partition unless told otherwise. */
  async function member(run: string, more: Partial<PostgresTransportOptions> = {}, partitions = 1) {
    const pool = new pg.Pool({ connectionString: database.url, max: 4 })
    const own = new pg.Pool({ connectionString: database.url, max: 4 })
    pool.on('error', () => {})
    const sql = pgClient(pool)
    const options = { sql: pgClient(own), transactionsOf: sql, leaseMs: LEASE_MS, pollMs: 50, ...more }
    const transport = postgresTransport(options)
    transport.attach({ service: run, instance: run, logger: silentLogger, clock: systemClock })
    onTestFinished(async () => {
      await transport.close()
      await Promise.all([pool.end(), own.end()])
    })
    await transport.provision([{ name: run, partitions, groups: ['g'] }])
    const settling = transport.settlingIn?.(more.transactionsOf ?? sql) as SettlingTransactions
    const recorder = Recorder.keeping()
    const spec = { destination: run, partitions, group: 'g', prefetch: 50, prefetchBytes: 1_000_000 }
    const subscribe = () => transport.subscribe({ ...spec, settlesIn: settling }, recorder)
    /** @param stop awaited before the place is written, and after it */
    const handle = (delivery: TransportDelivery, before?: Promise<unknown>, after?: Promise<unknown>): Promise<void> =>
      settling.sql.transaction(async (tx) => {
        await tx.query('INSERT INTO effect VALUES ($1, $2)', [run, delivery.message.id])
        await before
        await settling.settle(tx, [delivery])
        await after
      })
    return { transport, settling, recorder, subscribe, handle }
  }

  const effects = async (run: string): Promise<readonly string[]> => {
    const { rows } = await database.sql.query<{ id: string }>('SELECT id FROM effect WHERE run = $1 ORDER BY id', [run])
    return rows.map(({ id }) => id.slice(run.length + 1))
  }

  /** Deletes the sessions of a process, as the server does for a process that is blocked. */
  const forget = (run: string) =>
    database.sql.query(`DELETE FROM concordat.transport_session WHERE owner LIKE $1`, [`${run}/%`])

  test('a handler that takes long holds up no other of its partition', async () => {
    const { transport, recorder, subscribe, handle } = await member('long')
    await transport.publish(numbered('long', 4, ['a', 'b', 'c', 'd']))
    await subscribe()
    await until('all are here', () => recorder.got.length === 4)
    const [first, ...rest] = recorder.got as [TransportDelivery, ...TransportDelivery[]]
    const { opened, open } = gate()
    const slow = handle(first, opened)
    await Promise.all(rest.map((delivery) => handle(delivery)))
    expect(await effects('long')).toEqual(['1', '2', '3'])
    open()
    await slow
    expect(await transport.lag?.({ destination: 'long', partitions: 1, group: 'g' })).toBe(0)
  })

  test('handlers that hold every connection of the only pool wait for no fetch', async () => {
    const pool = new pg.Pool({ connectionString: database.url, max: 2 })
    onTestFinished(() => pool.end())
    const sql = pgClient(pool)
    const { transport, recorder, subscribe, handle } = await member('same', { sql, transactionsOf: sql })
    await transport.publish(numbered('same', 40, ['a', 'b', 'c', 'd']))
    await subscribe()
    const done = new Set<TransportDelivery>()
    await until('all are handled', async () => {
      const next = recorder.got.filter((delivery) => !done.has(delivery)).slice(0, 8)
      for (const delivery of next) done.add(delivery)
      await Promise.all(next.map((delivery) => handle(delivery).then(() => delivery.ack())))
      return done.size === 40
    })
    expect(await effects('same')).toHaveLength(40)
    expect(recorder.losses).toEqual([])
  })

  test.for(['before', 'after'] as const)(
    'a handler blocked %s its position was written loses its partition after its lease, and its write',
    async (when) => {
      const run = `still-${when}`
      const first = await member(run)
      await first.transport.publish(numbered(run, 1, ['a']))
      await first.subscribe()
      await until('it is here', () => first.recorder.got.length === 1)
      const { opened, open } = gate()
      const [delivery] = first.recorder.got as [TransportDelivery]
      const standing = first.handle(delivery, ...(when === 'before' ? [opened] : [undefined, opened]))
      const outcome = standing.then(
        () => 'committed',
        () => 'rolled back',
      )
      await pause(100)
      const forgetting = setInterval(() => void forget(run).catch(() => {}), 20)
      const second = await member(run)
      await second.subscribe()
      await until('it is the second one’s', () => second.recorder.got.length > 0, 20 * LEASE_MS)
      clearInterval(forgetting)
      await second.handle(second.recorder.got.at(-1) as TransportDelivery)
      open()
      expect(await outcome).toBe('rolled back')
      expect(await effects(run)).toEqual(['0'])
    },
  )
  /** Lets commits wait that have written into the table `slow`, until the returned function is called. */
  async function slowCommits(): Promise<() => Promise<void>> {
    const holder = await database.pool.connect()
    await holder.query('SELECT pg_advisory_lock(7)')
    await database.sql.query('CREATE TABLE slow (id int)')
    await database.sql.query(
      'CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_advisory_xact_lock(7); RETURN NULL; END $$',
    )
    await database.sql.query(
      'CREATE CONSTRAINT TRIGGER slow AFTER INSERT ON slow DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION slow()',
    )
    return async () => {
      await holder.query('SELECT pg_advisory_unlock(7)')
      holder.release()
    }
  }

  test('a commit that outlasts its client while another member joins leaves no partition without a reader', async () => {
    const run = 'outlasting'
    const own = database.sql
    const release = await slowCommits()
    const cut = gate()
    const lossy: SqlClient = {
      ...own,
      transaction: async (work, limits) => {
        const committed = own.transaction(work, limits)
        committed.catch(() => {})
        const gone = Object.assign(new Error('cut (made by the test)'), { code: 'ECONNRESET' })
        return Promise.race([committed, cut.opened.then(() => Promise.reject(gone))])
      },
    }
    const lease = { leaseMs: 60_000 }
    const first = await member(run, { ...lease, transactionsOf: lossy }, 2)
    const second = await member(run, lease, 2)
    const waiting = async (type: string): Promise<boolean> => {
      const { rows } = await own.query(`SELECT FROM pg_locks WHERE locktype = $1 AND NOT granted`, [type])
      return rows.length > 0
    }
    await first.transport.publish(numbered(run, 1, ['a']))
    await first.subscribe()
    await until('it is here', () => first.recorder.got.length === 1)
    const [delivery] = first.recorder.got as [TransportDelivery]
    const handled = first.settling.sql.transaction(async (tx) => {
      await tx.query('INSERT INTO slow VALUES (1)')
      await first.settling.settle(tx, [delivery])
    })
    const outcome = handled.catch((error: Error) => error.message)
    try {
      await until('it is being committed', () => waiting('advisory'))
      await second.subscribe()
      cut.open()
      expect(await outcome).toContain('cut')
      await until('the first waits for that commit', () => waiting('transactionid'))
    } finally {
      await release()
    }
    await until('it has landed', async () => (await own.query('SELECT FROM slow')).rows.length === 1)
    await first.transport.publish(numbered(run, 40, ['a', 'b', 'c', 'd', 'e', 'f', 'g', 'h']))
    const got = () => new Set([...first.recorder.got, ...second.recorder.got].map(({ message }) => message.id))
    await until('every message has a reader', () => got().size === 40, 15_000)
  }, 60_000)
})
