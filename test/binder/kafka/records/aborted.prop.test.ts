import fc from 'fast-check'
import { describe, it } from 'vitest'
import { type Logged, logOf, steps } from '../aborted-model.ts'
import { ChunkedBytes, crc32c, readBatches, writeBatch } from '../inside.ts'
import { ROOMY } from '../kit.ts'

const TRANSACTIONAL = 1 << 4
const CONTROL = 1 << 5
/** Record keys: an abort marker's key is the Java integer 0, too. */
const KEYS = [Buffer.from([0, 0, 0, 0]), Buffer.from([0, 0, 0, 1]), null] as const

/** A record in a batch of its own, stamped by the broker. */
async function batchOf({ offset, producer, kind }: Logged): Promise<Buffer> {
  const isMarker = kind === 'abort' || kind === 'commit'
  const key = isMarker ? Buffer.from([0, 0, 0, kind === 'abort' ? 0 : 1]) : (KEYS[offset % 3] ?? null)
  const envelope = { topic: 't', key, value: null, headers: {}, bytes: 100, index: 0, place: 0 }
  const identity = { id: kind === 'plain' ? -1 : producer, epoch: 0 }
  const batch = await writeBatch([envelope], { time: 1, identity, sequence: -1, compression: 'none' })
  batch.writeInt32BE(offset, 4)
  batch.writeInt16BE((kind === 'plain' ? 0 : TRANSACTIONAL) | (isMarker ? CONTROL : 0), 21)
  batch.writeUInt32BE(crc32c(batch.subarray(21)), 17)
  return batch
}

describe('records of aborted transactions', () => {
  it('are never delivered, and all others are, wherever a fetch begins and ends', async ({ expect }) => {
    await fc.assert(
      fc.asyncProperty(steps, fc.nat(60), fc.nat(60), async (all, a, b) => {
        const { log, aborted } = logOf(all as never)
        const [from, to] = [Math.min(a, b), Math.max(a, b)]
        const part = log.filter(({ offset }) => offset >= from && offset <= to)
        const listed = aborted.filter(({ first, last }) => last >= from && first <= to)
        const { messages, next } = await readBatches(
          new ChunkedBytes(await Promise.all(part.map(batchOf))),
          from,
          listed.map(({ producer, first }) => ({ producerId: producer, firstOffset: first })),
          ROOMY,
        )
        const wanted = part.filter(({ kind, isAborted }) => (kind === 'plain' || kind === 'record') && !isAborted)
        expect(messages.map(({ offset }) => offset)).toEqual(wanted.map(({ offset }) => offset))
        expect(next).toBe((part.at(-1)?.offset ?? from - 1) + 1)
      }),
      { numRuns: 500 },
    )
  })
})
