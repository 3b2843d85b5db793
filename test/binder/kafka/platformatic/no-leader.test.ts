import { systemClock } from 'concordat/core'
import { it, onTestFinished } from 'vitest'
import type { Stall } from '../../../support/inside/binder.ts'
import { until } from '../../../support/until.ts'
import { KafkaRefusal } from '../inside.ts'
import { makeBatches, memberOf, ScriptedCluster } from './scripted-cluster.ts'

const LIST_OFFSETS = 2

it('a member reads its other partitions while one without a committed offset has no leader, and reports that one', async ({
  expect,
}) => {
  const scripted = new ScriptedCluster([3, 2], await makeBatches())
  const { group, cluster: inner } = scripted
  group.committed[1] = -1
  const led = { leader: -1 }
  const partitions = () => [
    { partition: 0, leader: 1 },
    { partition: 1, leader: led.leader },
  ]
  const { call } = inner as unknown as { readonly call: (this: void, ...args: unknown[]) => Promise<unknown> }
  const cluster = Object.assign(inner, {
    freshTopic: () => Promise.resolve({ name: 't', errorCode: 0, isInternal: false, partitions: partitions() }),
    call: async (leader: number, request: { readonly apiKey: number }, ...rest: unknown[]): Promise<unknown> => {
      if (leader < 0) throw new KafkaRefusal('BROKER_NOT_AVAILABLE', 'broker -1 is not there')
      return request.apiKey === LIST_OFFSETS ? new Map([[1, 0]]) : call(leader, request, ...rest)
    },
  })
  let aheadMs = 0
  const clock = { ...systemClock, monotonic: () => systemClock.monotonic() + aheadMs }
  const got: string[] = []
  const told: Array<Stall | undefined> = []
  const receiver = {
    deliver: (delivery: { readonly position: string; ack(): void }) => {
      got.push(delivery.position)
      delivery.ack()
    },
    recall: () => {},
    stalled: (stall: Stall | undefined) => void told.push(stall),
    lost: () => {},
  }
  const member = memberOf({ group, cluster }, 10, receiver, clock)
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
  await until('the led partition is read', () => got.length === 3)
  expect(told).toEqual([])
  aheadMs = 11_000
  await until('the other one is reported', () => told.length > 0)
  expect(told[0]?.reason.message).toContain('partition 1 of "t" has had no leader for more than 10000 ms')
  expect(told[0]?.isPassing).toBe(false)
  led.leader = 1
  await until('it is read', () => got.length === 5)
  expect(got.slice(3)).toEqual(['partition 1 offset 0', 'partition 1 offset 1'])
  expect(told.slice(1)).toEqual([undefined])
})
