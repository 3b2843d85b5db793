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

describe('produce requests', () => {
  it('carry everything in order, with no topic over the limit but for a message alone', ({ expect }) => {
    const messages = fc.array(
      fc.record({ topic: fc.constantFrom('a', 'b', 'c'), bytes: fc.integer({ min: 1, max: 600 }) }),
    )
    fc.assert(
      fc.property(messages, (fields) => {
        const envelopes = fields.map(({ topic, bytes }) => envelope(null, topic, bytes))
        const requests = splitRequests(envelopes, 1_000)
        expect(requests.flat()).toEqual(envelopes)
        for (const request of requests) {
          expect(request.length).toBeGreaterThan(0)
          for (const topic of ['a', 'b', 'c']) {
            const sum = request.filter((each) => each.topic === topic).reduce((total, { bytes }) => total + bytes, 0)
            expect(sum).toBeLessThanOrEqual(1_000)
          }
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
