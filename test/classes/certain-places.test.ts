/**
 * A process that was stopped, or whose machine was suspended, begins no message that another member may have by now.
 * Each transport that can move an assignment to another process decides by the same rule, on the later of both clocks.
 */
// oxlint-disable no-restricted-imports -- the measure and its users are no part of the package's interface
import { EventEmitter } from 'node:events'
import { describe, expect, it } from 'vitest'
import { PartitionLending } from '../../binder/kafka/group/partition-lending.ts'
import { SessionTimeout } from '../../binder/kafka/group/session-timeout.ts'
import { ProcessLease } from '../../binder/postgres/process-lease.ts'
import type { StatementRunner } from '../../binder/postgres/statement-runner.ts'
import type { TransportTables } from '../../binder/postgres/tables.ts'
import type { AmqpConnection } from '../../binder/rabbitmq/link/amqplib-types.ts'
import { ConnectionLiveness } from '../../binder/rabbitmq/link/connection-liveness.ts'
import { FakeClock } from '../support/locks/fake-clock.ts'

const LIMIT_MS = 10_000

interface Place {
  readonly isCertain: () => boolean
  /** Makes the server answer a recent request. */
  readonly answered: () => Promise<void> | void
}

const PLACES: Readonly<Record<string, (clock: FakeClock) => Promise<Place>>> = {
  'a Kafka group': async (clock) => {
    const times = { sessionTimeoutMs: LIMIT_MS, heartbeatIntervalMs: 1_000, joinTimeoutMs: 35_000 }
    const membership = new SessionTimeout(clock, times)
    membership.joined()
    return { isCertain: () => membership.isCertain(), answered: () => membership.confirmed() }
  },
  'a connection to RabbitMQ': async (clock) => {
    const stream = new EventEmitter()
    const connection = { connection: { heartbeat: LIMIT_MS / 1_000, stream } } as unknown as AmqpConnection
    const assurance = new ConnectionLiveness(connection, clock)
    return { isCertain: () => assurance.isCertain(), answered: () => void stream.emit('readable') }
  },
  'a session on PostgreSQL': async (clock) => {
    const database = { query: () => Promise.resolve({ rows: [] }) } as unknown as StatementRunner
    const session = new ProcessLease({ owner: 'o', database, tables: {} as TransportTables, clock, leaseMs: LIMIT_MS })
    await session.renew([], () => undefined)
    return { isCertain: () => session.isValid(), answered: async () => void (await session.renew([], () => undefined)) }
  },
}

describe.each(Object.keys(PLACES))('%s', (name) => {
  const place = (clock: FakeClock): Promise<Place> => (PLACES[name] as (clock: FakeClock) => Promise<Place>)(clock)

  it('is certain for as long as its server answers, and no longer when the process was stopped for almost the limit', async () => {
    const clock = new FakeClock()
    const { isCertain, answered } = await place(clock)
    for (let n = 0; n < 10; n++) {
      clock.stall(LIMIT_MS / 2)
      expect(isCertain()).toBe(true)
      await answered()
    }
    clock.stall(LIMIT_MS * 0.95)
    expect(isCertain()).toBe(false)
  })

  it('is not certain when the machine was suspended, which only the wall clock shows', async () => {
    const clock = new FakeClock()
    const { isCertain } = await place(clock)
    clock.suspend(LIMIT_MS)
    expect(isCertain()).toBe(false)
  })

  it('is not made uncertain by a wall clock that is set back, nor kept certain by it', async () => {
    const clock = new FakeClock()
    const { isCertain } = await place(clock)
    clock.suspend(-60_000)
    expect(isCertain()).toBe(true)
    clock.stall(LIMIT_MS)
    expect(isCertain()).toBe(false)
  })
})

it('an answer that was in the socket while the process was frozen does not make its place certain again', () => {
  const clock = new FakeClock()
  const stream = new EventEmitter()
  const connection = { connection: { heartbeat: LIMIT_MS / 1_000, stream } } as unknown as AmqpConnection
  const assurance = new ConnectionLiveness(connection, clock)
  clock.stall(2 * LIMIT_MS)
  stream.emit('readable')
  expect(assurance.isCertain()).toBe(false)
  assurance.answered()
  expect(assurance.isCertain()).toBe(true)
  const membership = new SessionTimeout(clock, {
    sessionTimeoutMs: LIMIT_MS,
    heartbeatIntervalMs: 1_000,
    joinTimeoutMs: 35_000,
  })
  membership.joined()
  clock.stall(2 * LIMIT_MS)
  membership.confirmed()
  expect(membership.isCertain()).toBe(false)
})

it('a share that lay in the socket while the process was frozen is certain only after a heartbeat sent since', () => {
  const clock = new FakeClock()
  const times = { sessionTimeoutMs: LIMIT_MS, heartbeatIntervalMs: 1_000, joinTimeoutMs: 35_000 }
  const membership = new SessionTimeout(clock, times)
  membership.joining()
  const askedAt = membership.now()
  clock.stall(2 * LIMIT_MS)
  membership.joined(askedAt)
  expect([membership.isCertain(), membership.doubt()]).toEqual([false, undefined])
  membership.confirmed(askedAt)
  expect(membership.isCertain()).toBe(false)
  membership.confirmed(membership.now())
  expect(membership.isCertain()).toBe(true)
})

it('a delivery of Kafka checks each time whether its lending is certain, and keeps its own signal while it is', () => {
  let isCertain = true
  const signals: AbortSignal[] = []
  const ignore = (): void => {}
  const limits = { topic: 't', prefetch: 10, prefetchBytes: 1_000, partitions: 1 }
  const events = { deliver: ignore, onProgress: ignore, onReleased: ignore, onRoom: ignore }
  const lending = new PartitionLending([0], limits, { ...events, isCertain: () => isCertain })
  for (const certain of [true, false, true]) {
    isCertain = certain
    signals.push(lending.signal)
  }
  expect(signals.map(({ aborted }) => aborted)).toEqual([false, true, false])
  expect(signals[0]).toBe(signals[2])
  lending.withdraw(new Error('lost'))
  expect(signals[0]?.aborted).toBe(true)
})
