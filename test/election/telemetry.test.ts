import { createBinder } from 'concordat/binder'
import { memoryTransport } from 'concordat/binder/memory'
import { createBus, defineEvent, onEvent } from 'concordat/bus'
import { createMembership, createSharedState } from 'concordat/cluster'
import { memoryStateStore } from 'concordat/cluster/memory'
import { createElection } from 'concordat/election'
import { memoryLockServer, memoryLocks } from 'concordat/locks/memory'
import { expect, it, onTestFinished } from 'vitest'
import { z } from 'zod'
import { record } from '../support/tracing.ts'
import { until } from '../support/until.ts'

it('locks tell how long was waited and held, what was lost, and a span for each wish', async () => {
  const recording = record()
  const { telemetry } = recording
  const server = memoryLockServer()
  const locks = memoryLocks({ server, telemetry })
  onTestFinished(() => locks.close())
  const lease = await locks.acquire('k')
  expect(await locks.tryAcquire('k')).toBeUndefined()
  await expect(locks.acquire('k', { waitMs: 1 })).rejects.toMatchObject({ code: 'locks.timeout' })
  expect(await recording.metric('concordat.lock.held')).toEqual([{ value: 1, attributes: {} }])
  expect(await recording.metric('concordat.lock.waiting')).toEqual([{ value: 0, attributes: {} }])
  await lease.release()
  const permit = await locks.acquire('p', { permits: 2 })
  await locks.forceRelease('p', { by: 'ada', reason: 'why' })
  await until('it is lost', () => permit.state === 'lost')
  const exclusive = { 'concordat.lock.mode': 'exclusive' }
  const permits = { 'concordat.lock.mode': 'permits' }
  expect(await recording.metric('concordat.lock.wait.duration')).toEqual([
    { value: 1, attributes: { ...exclusive, 'concordat.outcome': 'granted' } },
    { value: 1, attributes: { ...exclusive, 'concordat.outcome': 'busy' } },
    { value: 1, attributes: { ...exclusive, 'concordat.outcome': 'failed', 'error.type': 'locks.timeout' } },
    { value: 1, attributes: { ...permits, 'concordat.outcome': 'granted' } },
  ])
  expect(await recording.metric('concordat.lock.hold.duration')).toEqual([
    { value: 1, attributes: exclusive },
    { value: 1, attributes: permits },
  ])
  const forced = { value: 1, attributes: { ...permits, 'concordat.reason': 'forced' } }
  expect(await recording.metric('concordat.lock.lost')).toEqual([forced])
  expect(recording.named('acquire lock').map(({ attributes }) => attributes['concordat.lock.key'])).toEqual([
    'k',
    'k',
    'k',
    'p',
  ])
  expect(recording.named('acquire lock')[0]?.attributes['concordat.lock.token']).toBe(lease.token)
})

it('an election tells whether this instance leads, in which term, and how terms end', async () => {
  const recording = record()
  const { telemetry } = recording
  const locks = memoryLocks()
  const election = createElection({ locks, role: 'r', telemetry, ttlMs: 5_000 })
  onTestFinished(async () => {
    await election.close()
    await locks.close()
  })
  const attributes = { 'concordat.election.role': 'r' }
  expect(await recording.metric('concordat.election.leader')).toEqual([{ value: 0, attributes }])
  expect(await recording.metric('concordat.election.term')).toEqual([])
  election.start()
  await until('it leads', () => election.current() !== undefined)
  expect(await recording.metric('concordat.election.leader')).toEqual([{ value: 1, attributes }])
  expect(await recording.metric('concordat.election.term')).toEqual([{ value: election.current()?.term, attributes }])
  await election.resign()
  const resigned = { value: 1, attributes: { ...attributes, 'concordat.reason': 'resigned' } }
  expect(await recording.metric('concordat.election.terms')).toEqual([resigned])
})

it('a membership tells how many it sees and whether it is isolated, a shared state how long writes take', async () => {
  const recording = record()
  const { telemetry } = recording
  const store = memoryStateStore()
  const member = createMembership({ store, cluster: 'c', service: 's', telemetry })
  const state = createSharedState<number>({ store, name: 'n', telemetry })
  onTestFinished(async () => {
    await Promise.all([member.close(), state.close()])
    await store.close()
  })
  await member.join()
  const inCluster = { 'concordat.cluster': 'c' }
  expect(await recording.metric('concordat.cluster.members')).toEqual([
    { value: 1, attributes: { ...inCluster, 'concordat.state': 'alive' } },
    { value: 0, attributes: { ...inCluster, 'concordat.state': 'suspect' } },
  ])
  expect(await recording.metric('concordat.cluster.isolated')).toEqual([{ value: 0, attributes: inCluster }])
  await state.put('k', 1)
  await state.put('k', 2)
  const written = { value: 2, attributes: { 'concordat.state.name': 'n' } }
  expect(await recording.metric('concordat.state.commit.duration')).toEqual([written])
})

it('a bus tells what it handled, dropped and published, and whom it knows', async () => {
  const recording = record()
  const { telemetry } = recording
  const Ping = defineEvent('ping', { payload: z.object({}) })
  const Other = defineEvent('other', { payload: z.object({}) })
  const bus = createBus({ service: 's', telemetry, on: [onEvent(Ping, () => {})] })
  const binder = createBinder({
    service: 's',
    transport: memoryTransport(),
    bindings: bus.bindings,
    sends: bus.channels,
  })
  onTestFinished(async () => {
    await bus.close()
    await binder.close()
  })
  await binder.start()
  await bus.start(binder)
  await bus.publish(Ping, {}, { to: '**', ack: true })
  await bus.publish(Other, {}, { to: 'nobody:*:*' })
  await bus.publish(Other, {}, { to: 's:*:*', ack: true })
  expect(await recording.metric('concordat.bus.handled')).toEqual([
    { value: 1, attributes: { 'concordat.bus.event': 'ping', 'concordat.outcome': 'acked' } },
    { value: 1, attributes: { 'concordat.bus.event': '(ignored)', 'concordat.outcome': 'ignored' } },
  ])
  expect(
    (await recording.metric('concordat.bus.publish.duration')).map(({ attributes }) => attributes['concordat.outcome']),
  ).toEqual(['answered', 'sent', 'answered'])
  expect(await recording.metric('concordat.bus.members')).toEqual([{ value: 1, attributes: {} }])
  expect(await recording.metric('concordat.bus.dropped')).toEqual([])
})
