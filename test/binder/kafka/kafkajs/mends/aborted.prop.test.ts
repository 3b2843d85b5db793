import fc from 'fast-check'
import { describe, it } from 'vitest'
import { type DecodedRecord, markAborted, readFetchesOf } from '../../inside.ts'

/** A record of the log of one partition, with what became of its transaction. */
interface Logged {
  readonly offset: number
  readonly producer: number
  readonly kind: 'plain' | 'record' | 'abort' | 'commit'
  isAborted: boolean
}

interface Ended {
  readonly producer: number
  readonly first: number
  readonly last: number
}

/** What producers do in turn: `record` opens a transaction where none is open, the ends end one. */
const steps = fc.array(
  fc.record({
    producer: fc.integer({ min: 0, max: 3 }),
    kind: fc.constantFrom('plain', 'record', 'record', 'record', 'abort', 'commit'),
    lost: fc.integer({ min: 0, max: 9 }),
  }),
  { minLength: 1, maxLength: 60 },
)

/** As a broker has it below its last stable offset, aborted ones in the order of their ends. Compaction takes single records away, with the places that they had. */
function logOf(all: ReadonlyArray<{ producer: number; kind: Logged['kind']; lost: number }>) {
  const log: Logged[] = []
  const aborted: Ended[] = []
  const open = new Map<number, Logged[]>()
  for (const [offset, { producer, kind, lost }] of all.entries()) {
    const entry: Logged = { offset, producer, kind, isAborted: false }
    const transaction = open.get(producer)
    if ((kind === 'abort' || kind === 'commit') && transaction === undefined) continue
    if (kind === 'record') open.set(producer, [...(transaction ?? []), entry])
    if (kind === 'abort' || kind === 'commit') open.delete(producer)
    if (kind === 'abort') {
      for (const each of transaction ?? []) each.isAborted = true
      aborted.push({ producer, first: transaction?.[0]?.offset ?? offset, last: offset })
    }
    if (kind === 'record' && lost === 0) continue
    log.push(entry)
  }
  const stable = Math.min(...[...open.values()].map(([first]) => first?.offset ?? Infinity), Infinity)
  return { log: log.filter(({ offset }) => offset < stable), aborted }
}

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
