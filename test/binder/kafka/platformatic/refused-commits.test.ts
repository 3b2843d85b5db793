import { systemClock } from 'concordat/core'
import { it, onTestFinished } from 'vitest'
import type { Stall } from '../../../support/inside/binder.ts'
import { until } from '../../../support/until.ts'
import { KafkaRefusal } from '../inside.ts'
import { makeBatches, memberOf, ScriptedCluster } from './scripted-cluster.ts'

it('a member whose commits are refused for more than 10 s reports why, until one succeeds', async ({ expect }) => {
  const scripted = new ScriptedCluster([3], await makeBatches())
  const { group } = scripted
  const commit = group.commit.bind(group)
  let refused = 0
  group.commit = () => {
    refused++
    throw new KafkaRefusal('GROUP_COORDINATOR_NOT_AVAILABLE', 'the offset was not committed')
  }
  let aheadMs = 0
  const clock = { ...systemClock, monotonic: () => systemClock.monotonic() + aheadMs }
  const told: Array<Stall | undefined> = []
  const receiver = {
    deliver: (delivery: { ack(): void }) => delivery.ack(),
    recall: () => {},
    stalled: (stall: Stall | undefined) => void told.push(stall),
    lost: () => {},
  }
  const member = memberOf(scripted, 10, receiver, clock)
  const serving = setInterval(() => {
    group.serve()
    group.serveFetch()
    group.read()
  }, 1)
  onTestFinished(async () => {
    await member.close()
    clearInterval(serving)
  })
  await member.open()
  await until('a commit was refused', () => refused > 0)
  expect(told).toEqual([])
  aheadMs = 11_000
  await until('it is reported', () => told.length > 0)
  expect(told[0]).toMatchObject({ isPassing: false, reason: { kind: 'refused' } })
  expect(told[0]?.reason.message).toContain('the offset was not committed')
  group.commit = commit
  await until('it is over', () => told.length > 1)
  expect(told).toHaveLength(2)
  expect([told[1], group.committed]).toEqual([undefined, [3]])
})
