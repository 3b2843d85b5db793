import { createMembership, createSharedState } from 'concordat/cluster'
import { memoryStateStore } from 'concordat/memory'
import { expect, it, onTestFinished } from 'vitest'
import { record } from '../../support/tracing.ts'

it('a membership reports the members it sees and whether it is isolated, a shared state how long writes take', async () => {
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
