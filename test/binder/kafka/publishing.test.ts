import fc from 'fast-check'
import kafkajs from 'kafkajs'
import { describe, it } from 'vitest'
import { createPartitioner, type Envelope, encodeRecord, recordBytes, splitRequests } from './inside.ts'
import { plainMessage } from './kit.ts'

const metadata = (count: number) => Array.from({ length: count }, (_, partitionId) => ({ partitionId, leader: 1 }))

function envelope(key: string | null, topic = 't', bytes = 100): Envelope {
  return { ...encodeRecord(plainMessage({ key })), topic, bytes, index: 0, place: undefined }
}

describe('partitioner', () => {
  it('puts a key where the partitioner of kafkajs, and so the Java client, puts it', ({ expect }) => {
    const ours = createPartitioner(() => true)()
    const theirs = kafkajs.Partitioners.DefaultPartitioner()
    fc.assert(
      fc.property(fc.string({ unit: 'grapheme' }), fc.integer({ min: 1, max: 50 }), (key, count) => {
        const args = { topic: 't', partitionMetadata: metadata(count) }
        const expected = theirs({ ...args, message: { key, value: null } } as never)
        expect(ours({ ...args, message: envelope(key) })).toBe(expected)
      }),
    )
  })

  it('decides once: a retry goes where the first attempt went, even when partitions were added', ({ expect }) => {
    const place = createPartitioner(() => true)()
    for (const message of [envelope(null), envelope('k')]) {
      const first = place({ topic: 't', partitionMetadata: metadata(4), message })
      expect(place({ topic: 't', partitionMetadata: metadata(4), message })).toBe(first)
      expect(place({ topic: 't', partitionMetadata: metadata(9), message })).toBe(first)
    }
  })

  it('spreads messages without a key evenly', ({ expect }) => {
    const place = createPartitioner(() => true)()
    const counts = [0, 0, 0, 0]
    for (let i = 0; i < 40; i++) {
      const partition = place({ topic: 't', partitionMetadata: metadata(4), message: envelope(null) })
      counts[partition] = (counts[partition] ?? 0) + 1
    }
    expect(counts).toEqual([10, 10, 10, 10])
  })

  it('stops the retries of a producer that was given up', ({ expect }) => {
    let open = true
    const place = createPartitioner(() => open)()
    const args = { topic: 't', partitionMetadata: metadata(4), message: envelope('k') }
    place(args)
    open = false
    expect(() => place(args)).toThrow(expect.objectContaining({ name: 'PublishAbandoned', retriable: false }))
  })
})

const placeOf = ({ topic, place }: Envelope): string => `${topic} ${place}`

function sizesOf(request: readonly Envelope[]): Map<string, number> {
  const sizes = new Map<string, number>()
  for (const each of request) sizes.set(placeOf(each), (sizes.get(placeOf(each)) ?? 0) + each.bytes)
  return sizes
}

describe('produce requests', () => {
  it('carry everything in order, with no partition over the limit but for a message alone', ({ expect }) => {
    const messages = fc.array(
      fc.record({
        topic: fc.constantFrom('a', 'b'),
        place: fc.integer({ min: 0, max: 2 }),
        bytes: fc.integer({ min: 1, max: 600 }),
      }),
    )
    fc.assert(
      fc.property(messages, (fields) => {
        const envelopes = fields.map(({ topic, place, bytes }) => ({ ...envelope(null, topic, bytes), place }))
        const requests = splitRequests(envelopes, 1_000, ({ place }) => place ?? 0)
        expect(requests.flat()).toEqual(envelopes)
        for (const [i, request] of requests.entries()) {
          expect(request.length).toBeGreaterThan(0)
          const sizes = sizesOf(request)
          expect(Math.max(...sizes.values())).toBeLessThanOrEqual(1_000)
          // A batch ends only where one more record would have exceeded the limit.
          const [next] = requests[i + 1] ?? []
          if (next !== undefined) expect((sizes.get(placeOf(next)) ?? 0) + next.bytes).toBeGreaterThan(1_000)
        }
      }),
    )
  })

  it('count the headers too', ({ expect }) => {
    const plain = recordBytes(encodeRecord(plainMessage()))
    const withHeader = recordBytes(encodeRecord(plainMessage({ headers: { note: 'x'.repeat(500) } })))
    expect(withHeader - plain).toBeGreaterThanOrEqual(504)
  })
})
