import { systemClock } from 'concordat/core'
import kafkajs from 'kafkajs'
import { describe, it } from 'vitest'
import { gatedAssigner } from '../inside.ts'

const { AssignerProtocol, PartitionAssigners } = kafkajs

function cluster(partitions: number) {
  const found: unknown[] = []
  return {
    found,
    findTopicPartitionMetadata: () => Array.from({ length: partitions }, (_, partitionId) => ({ partitionId })),
    findGroupCoordinator: (group: unknown): Promise<string> => {
      found.push(group)
      return Promise.resolve('coordinator')
    },
  }
}

const members = (...ids: string[]) => ids.map((memberId) => ({ memberId, memberMetadata: Buffer.alloc(0) }))

describe('gated assigner', () => {
  it.for([
    [4, ['b', 'a']],
    [3, ['a', 'b', 'c', 'd']],
    [1, ['a']],
    [7, ['x', 'm', 'a']],
  ] as const)(
    'assigns %i partitions to %j byte for byte as the round robin of kafkajs',
    async ([count, ids], { expect }) => {
      const group = { members: members(...ids), topics: ['orders', 'payments'] }
      const theirs = PartitionAssigners.roundRobin({ cluster: cluster(count), groupId: 'g' } as never)
      const ours = gatedAssigner(systemClock, () => Promise.resolve())({ cluster: cluster(count) })
      const sorted = (each: Array<{ memberId: string }>) => each.sort((a, b) => a.memberId.localeCompare(b.memberId))
      expect(sorted(await ours.assign(group))).toEqual(sorted(await theirs.assign(group)))
      expect(ours.protocol(group)).toEqual(theirs.protocol(group))
      expect([ours.name, ours.version]).toEqual([theirs.name, theirs.version])
    },
  )

  it('writes what kafkajs reads', async ({ expect }) => {
    const [share] = await gatedAssigner(systemClock, () => Promise.resolve())({ cluster: cluster(3) }).assign({
      members: members('a'),
      topics: ['größe'],
    })
    const decoded = AssignerProtocol.MemberAssignment.decode(share?.memberAssignment as Buffer)
    expect(decoded?.assignment).toEqual({ größe: [0, 1, 2] })
  })

  it('gives nothing to a member that reads another topic, and tells what each one reads', async ({ expect }) => {
    const subscription = (...topics: string[]) =>
      AssignerProtocol.MemberMetadata.encode({ version: 1, topics, userData: Buffer.alloc(0) })
    const told: unknown[] = []
    const ours = gatedAssigner(
      systemClock,
      () => Promise.resolve(),
      (all) => void told.push(...all),
    )
    const shares = await ours({ cluster: cluster(4) }).assign({
      members: [
        { memberId: 'a', memberMetadata: subscription('orders') },
        { memberId: 'b', memberMetadata: subscription('refunds') },
        { memberId: 'c', memberMetadata: subscription('orders', 'refunds') },
      ],
      topics: ['orders'],
    })
    const read = shares.map(({ memberId, memberAssignment }) => [
      memberId,
      AssignerProtocol.MemberAssignment.decode(memberAssignment)?.assignment,
    ])
    expect(read).toEqual([
      ['a', { orders: [0, 2] }],
      ['c', { orders: [1, 3] }],
    ])
    expect(told).toMatchObject([{ topics: ['orders'] }, { topics: ['refunds'] }, { topics: ['orders', 'refunds'] }])
  })

  it('makes the consumer wait for the gate before it looks up its coordinator', async ({ expect }) => {
    const each = cluster(1)
    const gate = Promise.withResolvers<void>()
    gatedAssigner(systemClock, () => gate.promise)({ cluster: each })
    const finding = each.findGroupCoordinator({ groupId: 'g' })
    await Promise.resolve()
    expect(each.found).toEqual([])
    gate.resolve()
    await expect(finding).resolves.toBe('coordinator')
    expect(each.found).toEqual([{ groupId: 'g' }])
  })

  it('fails when kafkajs lacks the hook', ({ expect }) => {
    const bare = { findTopicPartitionMetadata: () => [] }
    expect(() => gatedAssigner(systemClock, () => Promise.resolve())({ cluster: bare })).toThrow(/needs kafkajs 2.2/)
  })
})
