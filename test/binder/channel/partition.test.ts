import { partitionOf } from 'concordat/binder'
import fc from 'fast-check'
import { Partitioners } from 'kafkajs'
import { describe, expect, it } from 'vitest'
import { murmur2 } from '../../support/inside/binder.ts'

const bytes = (text: string): Uint8Array => new TextEncoder().encode(text)

describe('murmur2', () => {
  /** Vectors from UtilsTest.testMurmur2 of Apache Kafka. */
  it.for([
    ['21', -973932308],
    ['foobar', -790332482],
    ['a-little-bit-long-string', -985981536],
    ['a-little-bit-longer-string', -1486304829],
    ['lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8', -58897971],
    ['abc', 479470107],
  ] as const)('of %s is the Java client’s %i', ([text, hash]) => {
    expect(murmur2(bytes(text))).toBe(hash)
  })

  it('reads a view into a larger buffer as it reads a copy', () => {
    const whole = bytes('--foobar--')
    expect(murmur2(whole.subarray(2, 8))).toBe(-790332482)
  })
})

describe('partitionOf', () => {
  /** Printed by `Utils.toPositive(Utils.murmur2(key.getBytes(UTF_8)))` of kafka-clients 4.2.0, modulo 4, 12 and 100. */
  it.for([
    ['', 275646681, [1, 9, 81]],
    ['a', -1563381124, [0, 4, 24]],
    ['ab', 316155434, [2, 2, 34]],
    ['abc', 479470107, [3, 3, 7]],
    ['abcd', -1323649548, [0, 8, 0]],
    ['order-7', 323129857, [1, 1, 57]],
    ['order-12345', -1747359319, [1, 1, 29]],
    ['größe', 588164084, [0, 8, 84]],
    ['日本語', 1431860170, [2, 10, 70]],
    ['🦊', 1257896919, [3, 3, 19]],
    ['a\u0000b', -19837367, [1, 9, 81]],
    ['x'.repeat(1_024), 1799637545, [1, 5, 45]],
  ] as const)('of %j is that of the Java client', ([key, hash, partitions]) => {
    expect(murmur2(bytes(key))).toBe(hash)
    expect([4, 12, 100].map((count) => partitionOf(key, count))).toEqual(partitions)
  })

  it('agrees with kafkajs for every key and count', () => {
    const partitioner = Partitioners.DefaultPartitioner()
    fc.assert(
      fc.property(fc.string({ minLength: 1, unit: 'grapheme' }), fc.integer({ min: 1, max: 200 }), (key, count) => {
        const partitionMetadata = Array.from({ length: count }, (_, partitionId) => ({ partitionId, leader: 1 }))
        const message = { key, value: null }
        expect(partitionOf(key, count)).toBe(
          partitioner({ topic: 't', partitionMetadata: partitionMetadata as never, message }),
        )
      }),
    )
  })

  it('spreads a thousand keys over all partitions, with less than twice the mean in each', () => {
    const counts = new Map<number, number>()
    for (let i = 0; i < 1_000; i++) {
      const partition = partitionOf(`order-${i}`, 8)
      counts.set(partition, (counts.get(partition) ?? 0) + 1)
    }
    expect(counts.size).toBe(8)
    expect(Math.max(...counts.values())).toBeLessThan(250)
  })
})
