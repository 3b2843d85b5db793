import { memoryLockServer, memoryLocks } from 'concordat/memory'
import { expect, it, onTestFinished } from 'vitest'
import { record } from '../support/tracing.ts'
import { until } from '../support/until.ts'

it('locks report waiting and holding times, losses, and a span for each acquisition', async () => {
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
