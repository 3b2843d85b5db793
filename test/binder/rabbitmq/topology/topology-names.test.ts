import { describe, it } from 'vitest'
// oxlint-disable-next-line no-restricted-imports -- pure inside of the adapter
import {
  countsOf,
  idleQueueOf,
  markerOf,
  membersQueueOf,
  queueOf,
  rotated,
} from '../../../../binder/rabbitmq/topology/topology-names.ts'

describe('RabbitMQ topology', () => {
  it('names a queue per group and partition, without number when there is one', ({ expect }) => {
    expect(queueOf('orders.placed', 'audit', 3, 4)).toBe('orders.placed:audit:3')
    expect(queueOf('orders.placed', 'audit', 0, 1)).toBe('orders.placed:audit')
  })

  it('never gives two groups one queue', ({ expect }) => {
    const names = [
      queueOf('a', 'b.c', 0, 1),
      queueOf('a.b', 'c', 0, 1),
      queueOf('a', 'b', 0, 2),
      queueOf('a', 'b.0', 0, 1),
      membersQueueOf('a', 'b'),
      idleQueueOf('a', 'b'),
      queueOf('a', 'members', 0, 1),
      markerOf('a'),
    ]
    expect(new Set(names).size).toBe(names.length)
  })

  it('refuses a name over the limit of RabbitMQ', ({ expect }) => {
    expect(() => queueOf('d'.repeat(200), 'g'.repeat(100), 0, 4)).toThrow(/longer than 255 characters/)
  })

  it('reads both partition counts out of the refusal', ({ expect }) => {
    const text =
      "PRECONDITION_FAILED - inequivalent arg 'alternate-exchange' for exchange 'x:partitions' in vhost '/': received '8' but current is '4'"
    expect(countsOf(text)).toEqual({ wanted: 8, existing: 4 })
    expect(countsOf("inequivalent arg 'x-max-length' for queue 'x': received '8' but current is '4'")).toBe(undefined)
    expect(countsOf("inequivalent arg 'type' for exchange 'x': received 'fanout' but current is 'topic'")).toBe(
      undefined,
    )
  })

  it('rotates by the seed and leaves out no address', ({ expect }) => {
    const starts = new Set<number | undefined>()
    for (let i = 0; i < 100; i++) {
      const order = rotated(8, `orders-${i}`)
      starts.add(order[0])
      expect([...order].sort((a, b) => a - b)).toEqual([0, 1, 2, 3, 4, 5, 6, 7])
    }
    expect(starts.size).toBe(8)
  })
})
