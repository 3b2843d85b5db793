import fc from 'fast-check'
import { describe, it } from 'vitest'
import { type Logged, logOf, steps } from '../../aborted-model.ts'
import { type DecodedRecord, markAborted, readFetchesOf } from '../../inside.ts'

const KEYS = [Buffer.from([0, 0, 0, 0]), Buffer.from([0, 0, 0, 1]), null] as const

function decoded({ offset, producer, kind }: Logged): DecodedRecord {
  const isMarker = kind === 'abort' || kind === 'commit'
  return {
    offset: String(offset),
    key: isMarker ? Buffer.from([0, 0, 0, kind === 'abort' ? 0 : 1]) : (KEYS[offset % 3] ?? null),
    isControlRecord: isMarker,
    batchContext: { producerId: kind === 'plain' ? '-1' : String(producer), inTransaction: kind !== 'plain' },
  }
}

describe('records of aborted transactions', () => {
  it('are marked, and no others, wherever a fetch begins and ends', ({ expect }) => {
    fc.assert(
      fc.property(steps, fc.nat(60), fc.nat(60), (all, a, b) => {
        const { log, aborted } = logOf(all as never)
        const [from, to] = [Math.min(a, b), Math.max(a, b)]
        const part = log.filter(({ offset }) => offset >= from && offset <= to)
        const listed = aborted.filter(({ first, last }) => last >= from && first <= to)
        const records = part.map(decoded)
        markAborted(
          records,
          listed.map(({ producer, first }) => ({ producerId: String(producer), firstOffset: String(first) })),
        )
        const kept = records.filter(({ isControlRecord }) => isControlRecord !== true).map(({ offset }) => offset)
        const wanted = part.filter(({ kind, isAborted }) => (kind === 'plain' || kind === 'record') && !isAborted)
        expect(kept).toEqual(wanted.map(({ offset }) => String(offset)))
      }),
      { numRuns: 2_000 },
    )
  })

  it('would not be, in a kafkajs that looks otherwise inside: that is said', async ({ expect }) => {
    const bare = { findTopicPartitionMetadata: () => [] }
    expect(() => readFetchesOf(bare, () => {})).toThrow(/needs kafkajs 2.2/)
    const cluster = { ...bare, findBroker: () => Promise.resolve({}) }
    readFetchesOf(cluster, () => {})
    await expect(cluster.findBroker()).rejects.toThrow(/needs kafkajs 2.2/)
  })
})
