import { createElection } from 'concordat/election'
import { memoryLocks } from 'concordat/memory'
import { expect, it, onTestFinished } from 'vitest'
import { record } from '../../support/tracing.ts'
import { until } from '../../support/until.ts'

it('an election reports whether this instance leads, in which term, and how terms end', async () => {
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
