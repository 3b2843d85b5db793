/**
 * On every transport that can move an assignment to another process, a delivery held by this process may not begin once
 * its machine was suspended for longer than its session: the wall clock has moved on, the monotonic one and all timers
 * have not.
 */
// oxlint-disable no-restricted-imports -- the scripted brokers of the transports' own tests

import { type Clock, HOUR, MINUTE, silentLogger, systemClock } from 'concordat/core'
import type { Subscription } from 'concordat/extension'
import { postgresTransport } from 'concordat/postgres'
import { expect, it, onTestFinished } from 'vitest'
import { ScriptedClient, subscribeTo } from '../binder/kafka/kafkajs/scripted-client.ts'
import { range } from '../binder/kafka/kit.ts'
import { makeBatches, memberOf, ScriptedCluster } from '../binder/kafka/platformatic/scripted-cluster.ts'
import type { ScriptedGroup } from '../binder/kafka/scripted-group.ts'
import { onPglite } from '../binder/postgres/support/on-pglite.ts'
import { FakeBroker } from '../binder/rabbitmq/fake-broker.ts'
import { attached, Recorder, subscribe } from '../binder/rabbitmq/kit.ts'
import { plainMessage } from '../binder/rabbitmq/messages.ts'
import { until } from '../support/until.ts'

const { sql } = onPglite()

class SuspendedClock {
  #suspendedMs = 0
  readonly clock: Clock = { ...systemClock, now: () => Date.now() + this.#suspendedMs }

  suspend(durationMs: number = HOUR): void {
    this.#suspendedMs += durationMs
  }
}

/** Answers all requests until it is so. */
async function answered(group: ScriptedGroup, what: string, isDone: () => boolean): Promise<void> {
  await until(what, () => {
    group.serve()
    group.serveFetch()
    group.read()
    return isDone()
  })
}

interface Joining {
  readonly group: ScriptedGroup
  readonly member: Subscription
}

/** Members of a scripted group that begin to join, and leave with the test. */
const MEMBERS: Readonly<Record<string, (clock: Clock, recorder: Recorder) => Promise<Joining>>> = {
  kafkajs: async (clock, recorder) => {
    const client = new ScriptedClient(range(2).map(() => 3))
    const member = subscribeTo(client, 10, recorder, clock)
    member.open().catch(() => {})
    return { group: client.group, member }
  },
  platformatic: async (clock, recorder) => {
    const scripted = new ScriptedCluster(
      range(2).map(() => 3),
      await makeBatches(),
    )
    const member = memberOf(scripted, 10, recorder, clock)
    member.open().catch(() => {})
    return { group: scripted.group, member }
  },
}

async function joining(driver: string, clock: Clock, recorder: Recorder): Promise<ScriptedGroup> {
  const { group, member } = await (MEMBERS[driver] as (typeof MEMBERS)[string])(clock, recorder)
  onTestFinished(async () => {
    let isClosed = false
    const closing = member.close().finally(() => (isClosed = true))
    await answered(group, 'it has left', () => isClosed)
    await closing
  })
  return group
}

const onKafka = (driver: string) => async (clock: Clock, recorder: Recorder) => {
  const group = await joining(driver, clock, recorder)
  await answered(group, 'a record is lent', () => recorder.got.length > 0)
}

const TRANSPORTS: Readonly<Record<string, (clock: Clock, recorder: Recorder) => Promise<void>>> = {
  kafkajs: onKafka('kafkajs'),
  platformatic: onKafka('platformatic'),
  RabbitMQ: async (clock, recorder) => {
    const broker = new FakeBroker()
    const connect: typeof broker.connect = async (...names) => {
      const connection = await broker.connect(...names)
      Object.assign(broker.connections.at(-1)?.connection ?? {}, { heartbeat: 10 })
      return connection
    }
    await subscribe(attached({ connect }, 10_000, clock), 'orders', recorder)
    broker.queue('orders:g:0').put('0')
    await until('a message is lent', () => recorder.got.length === 1)
  },
  PostgreSQL: async (clock, recorder) => {
    const transport = postgresTransport({ sql, pollMs: 20 })
    transport.attach({ service: 's', instance: 'i', logger: silentLogger, clock })
    onTestFinished(() => transport.close())
    await transport.migrate()
    await transport.provision([{ name: 'orders', partitions: 4, groups: ['g'] }])
    await subscribe(transport, 'orders', recorder)
    await transport.publish([plainMessage({ destination: 'orders', key: 'k' })])
    await until('a message is lent', () => recorder.got.length === 1)
  },
}

it.each(Object.keys(TRANSPORTS))(
  'no message of %s begins after a suspension, before its assignment is certain again',
  async (name) => {
    const suspended = new SuspendedClock()
    const recorder = Recorder.keeping()
    await (TRANSPORTS[name] as (clock: Clock, recorder: Recorder) => Promise<void>)(suspended.clock, recorder)
    const delivery = recorder.got[0]
    expect(delivery?.signal.aborted).toBe(false)
    suspended.suspend()
    expect(delivery?.signal.aborted).toBe(true)
  },
)

it.each(Object.keys(MEMBERS))(
  'a member of %s that was suspended while it joined begins nothing on a share that another one has by then',
  async (driver) => {
    const suspended = new SuspendedClock()
    let mayBegin = false
    const tooEarly: string[] = []
    const recorder = new Recorder((delivery) => {
      if (!delivery.signal.aborted && !mayBegin) tooEarly.push(delivery.position)
      delivery.release()
    })
    const group = await joining(driver, suspended.clock, recorder)
    await until('its share is on the way', () => {
      group.serve()
      if (group.shares > 0) return true
      group.read()
      return false
    })
    group.expel()
    suspended.suspend(19 * MINUTE)
    await answered(group, 'it has joined again', () => {
      mayBegin = group.settledOn !== undefined
      return mayBegin
    })
    expect(tooEarly).toEqual([])
  },
)

it.each(Object.keys(MEMBERS))(
  'a heartbeat of %s that was answered before a suspension does not make its assignment certain after it',
  async (driver) => {
    const suspended = new SuspendedClock()
    const recorder = Recorder.keeping()
    const group = await joining(driver, suspended.clock, recorder)
    await answered(group, 'a record is lent', () => recorder.got.length > 0)
    const { heartbeats } = group
    await until('a heartbeat is answered', () => {
      group.serve()
      return group.heartbeats > heartbeats
    })
    suspended.suspend(19 * MINUTE)
    group.read()
    await new Promise((resolve) => setImmediate(resolve))
    expect(recorder.got[0]?.signal.aborted).toBe(true)
  },
)
