/**
 * PostgreSQL's errors for a write, and the reaction of each part that writes: a table of codes with a column for each
 * part. A part that stops calling `writeFault` fails in its column.
 */
import { createBinder, defineChannel, sink } from 'concordat/binder'
import { createSharedState } from 'concordat/cluster'
import { silentLogger, systemClock } from 'concordat/core'
import { memoryTransport } from 'concordat/memory'
import { createInbox, createOutbox, createRelay } from 'concordat/outbox'
import { postgresLocks, postgresStateStore, postgresTransport } from 'concordat/postgres'
import { describe, expect, onTestFinished, test } from 'vitest'
import { z } from 'zod'
// oxlint-disable-next-line no-restricted-imports -- inside of the core: the classifier has no public name
import { writeFault } from '../../core/write-fault.ts'
import { message, uniqueName } from '../outbox/support/messages.ts'
import { embedded, useEmbedded } from '../outbox/support/pglite.ts'
import { FakePublisher } from '../outbox/support/publisher.ts'
import { FaultySql, SQL_FAULTS, WORDS } from '../support/sql-faults.ts'
import { until } from '../support/until.ts'

useEmbedded()

const every = (): boolean => true
const numbers = defineChannel('numbers', { payload: z.number(), groups: ['g'] })

async function caught(work: () => Promise<unknown>): Promise<Error> {
  return work().then(
    () => expect.fail('nothing was thrown'),
    (error: unknown) => error as Error,
  )
}

interface Store {
  readonly health: () => { readonly status: string; readonly detail?: string | undefined }
  readonly call: () => Promise<unknown>
}

/**
 * Checks locks and cluster state: they wait out `busy` and report any other error, in health too until a call is
 * answered.
 */
async function storeMeets(faulty: FaultySql, fault: string, { health, call }: Store): Promise<void> {
  await call()
  faulty.refuse(fault === 'busy' ? 3 : Number.POSITIVE_INFINITY)
  if (fault === 'busy') {
    await call()
    expect([faulty.refused, health().status]).toEqual([3, 'up'])
    return
  }
  const error = await caught(call)
  expect(error.message).toContain(WORDS)
  const mayComeBack = fault === 'unavailable' || fault === 'session-ended'
  expect(error).toMatchObject({ code: expect.stringMatching(mayComeBack ? /_unavailable$/ : /_refused$/) })
  expect(health()).toMatchObject({ status: 'down', detail: expect.stringContaining(WORDS) })
  faulty.release()
  await call()
  // The server may have refused other calls too: they are repeated, or a probe is answered.
  await until('it is up', () => health().status === 'up')
}

describe.each(SQL_FAULTS)('%s (%s)', (code, fault) => {
  test('of a lock is waited out when the database is busy, and reported otherwise', async () => {
    const faulty = new FaultySql(embedded(), code, every)
    const locks = postgresLocks({ sql: faulty.sql, schema: uniqueName('locks'), logger: silentLogger })
    onTestFinished(() => locks.close())
    await locks.migrate()
    await storeMeets(faulty, fault, {
      health: () => locks.health(),
      call: async () => (await locks.tryAcquire('k'))?.release(),
    })
  })

  test('of cluster state is waited out when the database is busy, and reported otherwise', async () => {
    const faulty = new FaultySql(embedded(), code, every)
    const store = postgresStateStore({ sql: faulty.sql, schema: uniqueName('state'), logger: silentLogger })
    await store.migrate()
    const state = createSharedState<number>({ name: 's', cluster: 'c', store, logger: silentLogger })
    onTestFinished(() => state.close().then(() => store.close()))
    await storeMeets(faulty, fault, { health: () => state.health(), call: () => state.put('k', 1) })
  })

  test('of an added message rejects the caller, who rolls back', async () => {
    const faulty = new FaultySql(embedded(), code, every)
    const outbox = createOutbox({ sql: faulty.sql, service: 's', schema: uniqueName('outbox') })
    await outbox.migrate()
    faulty.refuse()
    const error = await caught(() => faulty.sql.transaction((tx) => outbox.addEncoded(tx, [message('m')])))
    expect([writeFault(error), error.message]).toEqual([fault, expect.stringContaining(WORDS)])
    faulty.release()
    expect((await outbox.stats()).pending).toBe(0)
  })

  test('of a relay blocks it with health down, and it continues by itself', async () => {
    const faulty = new FaultySql(embedded(), code, every)
    const outbox = createOutbox({ sql: faulty.sql, service: 's', schema: uniqueName('outbox'), partitions: 1 })
    await outbox.migrate()
    const publisher = new FakePublisher()
    const relay = createRelay({ outbox, publisher, idlePollMs: 20, leaseMs: 1_000, logger: silentLogger })
    onTestFinished(() => relay.close())
    await relay.start()
    await until('it is up', () => relay.health().status === 'up')
    faulty.refuse()
    await until('it is down', () => relay.health().status === 'down')
    expect(relay.health().detail).toContain(WORDS)
    faulty.release()
    await embedded().transaction((tx) => outbox.addEncoded(tx, [message('m')]))
    await until('it went on', () => publisher.ids.length === 1 && relay.health().status === 'up')
  })

  test('of the PostgreSQL transport rejects each message, which waits unless it is refused permanently', async () => {
    const faulty = new FaultySql(embedded(), code, every)
    const transport = postgresTransport({ sql: faulty.sql, schema: uniqueName('log') })
    transport.attach({ service: 's', instance: 'i', logger: silentLogger, clock: systemClock })
    onTestFinished(() => transport.close())
    await transport.provision([{ name: 'orders.placed', partitions: 1, groups: ['g'] }])
    const publish = () => transport.publish([message('m')], { deadline: systemClock.monotonic() + 5_000 })
    expect(await publish()).toEqual([undefined])
    faulty.refuse()
    const [outcome] = await publish()
    faulty.release()
    expect(outcome?.message).toContain(WORDS)
    // PostgreSQL raises 23514 for a log that was dropped and made again.
    const isPermanent = fault === 'permanent' && code !== '23514'
    expect(writeFault(outcome)).toBe(isPermanent || fault === 'operator' ? fault : 'unavailable')
    const isOfMessage = isPermanent || code === '42P01'
    expect(transport.health().status).toBe(isOfMessage ? 'up' : 'down')
    if (!isOfMessage) expect(transport.health().detail).toContain(WORDS)
    expect(await publish()).toEqual([undefined])
    await until('it is up, with its look for delayed messages', () => transport.health().status === 'up')
  })

  test('of an inbox waits, or counts as an attempt where the message or the handler is to blame', async () => {
    const schema = uniqueName('inbox')
    const faulty = new FaultySql(embedded(), code, (text) => text.includes('INSERT INTO'))
    const inbox = createInbox({ sql: faulty.sql, schema })
    await inbox.migrate()
    const errors: string[] = []
    const handled: number[] = []
    const options = { group: 'g', inbox, maxAttempts: 2, backoff: { initialMs: 1, maxMs: 1 } }
    const binding = sink(numbers, options, (n) => void handled.push(n))
    const logger = {
      ...silentLogger,
      error: ({ err }: { err?: Error }) => void errors.push(String(err?.message)),
    }
    const binder = createBinder({
      service: 's',
      transport: memoryTransport(),
      sends: [numbers],
      bindings: [binding],
      logger: logger as never,
    })
    onTestFinished(() => binder.close())
    await binder.start()
    const isCounted = fault === 'permanent' || fault === 'session-ended'
    faulty.refuse(isCounted || fault === 'operator' ? Number.POSITIVE_INFINITY : 3)
    await binder.send(numbers, 1)
    const status = () => binder.binding('numbers.g').status()
    if (fault === 'operator') {
      await until('the binding tells it', () => status().error?.includes(WORDS) === true && faulty.refused >= 3)
      expect(binder.health().status).toBe('down')
      faulty.release()
    }
    await until('it came to its end', () => status().handled + status().deadLettered === 1)
    expect([status().handled, handled.length]).toEqual(isCounted ? [0, 0] : [1, 1])
    await until('the binding is healthy', () => binder.health().status === 'up')
    if (fault !== 'operator') expect(faulty.refused).toBe(isCounted ? 2 : 3)
    if (isCounted) expect(errors.join()).toContain(WORDS)
  })
})
