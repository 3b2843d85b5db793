import { createRequire } from 'node:module'
import fc from 'fast-check'
import { describe, it } from 'vitest'
import { cuts, piecesOf } from '../in-pieces.ts'
import { ChunkedBytes, crc32c, fastestCrc32c, readBatches, slicedCrc32c, writeBatch } from '../inside.ts'
import { ROOMY } from '../kit.ts'
import { envelopes, plain } from './envelopes.ts'

const require = createRequire(import.meta.url)

/** kafkajs' own, for another opinion. */
const theirs = {
  crc32c: require('kafkajs/src/protocol/recordBatch/crc32C/index.js') as (bytes: Buffer) => number,
  Decoder: require('kafkajs/src/protocol/decoder.js') as new (bytes: Buffer) => object,
  readBatch: require('kafkajs/src/protocol/recordBatch/v0/decoder.js') as (decoder: object) => Promise<{
    readonly producerId: string
    readonly firstSequence: number
    readonly records: ReadonlyArray<{
      readonly offset: string
      readonly timestamp: string
      readonly key: Buffer | null
      readonly value: Buffer | null
      readonly headers: Readonly<Record<string, Buffer>>
    }>
  }>,
}

const bytes = fc.uint8Array({ maxLength: 300 })
const head = {
  time: 1_795_334_400_000,
  identity: { id: 4_294_967_300, epoch: 3 },
  sequence: 77,
  compression: 'none',
} as const

/**
 * Batch as stored by a broker that writes down the time of its arrival (LogAppendTime); each record keeps its sender's
 * time.
 */
function stamped(batch: Buffer, at: number): Buffer {
  const logAppendTime = 8
  batch.writeInt16BE(batch.readInt16BE(21) | logAppendTime, 21)
  batch.writeBigInt64BE(BigInt(at), 35)
  batch.writeUInt32BE(crc32c(batch.subarray(21)), 17)
  return batch
}

describe('batches of records', () => {
  it('are decoded by kafkajs without a difference', async ({ expect }) => {
    await fc.assert(
      fc.asyncProperty(envelopes, async (written) => {
        const batch = await writeBatch(written, head)
        const read = await theirs.readBatch(new theirs.Decoder(batch))
        expect(read.records.map(plain)).toEqual(written.map(plain))
        expect(read.records.map(({ timestamp }) => timestamp)).toEqual(written.map(() => String(head.time)))
        expect([read.producerId, read.firstSequence]).toEqual(['4294967300', 77])
      }),
    )
  })

  it.for(['none', 'gzip', 'snappy', 'lz4', 'zstd'] as const)(
    'are read as they were written: %s',
    async (compression, { expect }) => {
      await fc.assert(
        fc.asyncProperty(envelopes, async (written) => {
          const batch = await writeBatch(written, { ...head, compression })
          const { messages, next, unreadable } = await readBatches(ChunkedBytes.of(batch), 0, [], ROOMY)
          expect(unreadable).toBeUndefined()
          expect(messages.map(plain)).toEqual(written.map(plain))
          expect(messages.map(({ offset }) => offset)).toEqual(written.map((_, i) => i))
          expect(next).toBe(written.length)
        }),
        { numRuns: 30 },
      )
    },
  )

  it('batches of a topic with LogAppendTime are read alike, with the time of the broker', async ({ expect }) => {
    await fc.assert(
      fc.asyncProperty(envelopes, cuts, fc.nat(50), async (written, cut, from) => {
        const batch = stamped(await writeBatch(written, head), head.time + 1_000)
        const { messages, next, unreadable } = await readBatches(piecesOf(batch, cut), from, [], ROOMY)
        expect(unreadable).toBeUndefined()
        expect(messages.map(plain)).toEqual(written.map(plain).slice(from))
        expect(new Set(messages.map(({ timestamp }) => Number(timestamp)))).toEqual(
          new Set(messages.map(() => head.time + 1_000)),
        )
        expect(next).toBe(Math.max(from, written.length))
      }),
    )
  })

  it('begin where the fetch began, and the last one may be cut off', async ({ expect }) => {
    await fc.assert(
      fc.asyncProperty(envelopes, fc.nat(50), fc.nat(100), async (written, from, cut) => {
        const batch = await writeBatch(written, head)
        const second = Buffer.from(batch)
        second.writeInt32BE(written.length, 4)
        const all = Buffer.concat([batch, second.subarray(0, Math.max(0, second.length - 1 - cut))])
        const { messages, next } = await readBatches(ChunkedBytes.of(all), from, [], ROOMY)
        expect(messages.map(({ offset }) => offset)).toEqual(written.map((_, i) => i).slice(from))
        expect(next).toBe(Math.max(from, written.length))
      }),
    )
  })

  it.for(['none', 'zstd'] as const)('are the same in any pieces: %s', async (compression, { expect }) => {
    await fc.assert(
      fc.asyncProperty(envelopes, cuts, fc.nat(50), fc.nat(3_000), async (written, cut, from, roomBytes) => {
        const batch = await writeBatch(written, { ...head, compression })
        const second = Buffer.from(batch)
        second.writeInt32BE(written.length, 4)
        const all = Buffer.concat([batch, second])
        const limits = { ...ROOMY, roomBytes }
        const whole = await readBatches(ChunkedBytes.of(all), from, [], limits)
        expect(await readBatches(piecesOf(all, cut), from, [], limits)).toEqual(whole)
        expect(whole.unreadable).toBeUndefined()
      }),
    )
  })

  it('are unreadable with one wrong byte, and no later batch is skipped', async ({ expect }) => {
    await fc.assert(
      fc.asyncProperty(envelopes, fc.nat(), fc.integer({ min: 1, max: 255 }), cuts, async (written, at, bits, cut) => {
        const batch = await writeBatch(written, head)
        // Behind the offset, the length and the epoch, which the broker writes.
        const place = 16 + (at % (batch.length - 16))
        batch[place] = (batch[place] as number) ^ bits
        const { unreadable, messages, next } = await readBatches(piecesOf(batch, cut), 0, [], ROOMY)
        expect(unreadable?.error).toBeInstanceOf(RangeError)
        expect([messages, next, unreadable?.offset]).toEqual([[], 0, 0])
      }),
    )
  })

  it('batches of any bytes neither hang nor throw', async ({ expect }) => {
    await fc.assert(
      fc.asyncProperty(fc.uint8Array({ minLength: 60, maxLength: 300 }), cuts, async (hostile, cut) => {
        const { messages } = await readBatches(piecesOf(Buffer.from(hostile), cut), 0, [], ROOMY)
        expect(messages).toEqual([])
      }),
    )
  })
})

describe('crc32c', () => {
  it.for([
    ['by sixteen bytes at a time', slicedCrc32c],
    ['by the processor', fastestCrc32c(require)],
    ['whichever is there', crc32c],
  ] as const)('%s is that of kafkajs, in parts as in one', ([, sum], { expect }) => {
    fc.assert(
      fc.property(bytes, fc.nat(300), (each, cut) => {
        expect(sum(each)).toBe(theirs.crc32c(Buffer.from(each)) >>> 0)
        expect(sum(each.subarray(cut), sum(each.subarray(0, cut)))).toBe(sum(each))
      }),
    )
    expect(sum(Buffer.from('123456789'))).toBe(0xe3069283)
  })

  it('is that of the package where it is installed', ({ expect }) => {
    expect(fastestCrc32c(require)).toBe((require('@node-rs/crc32') as { readonly crc32c: unknown }).crc32c)
  })

  it('is our own where the package is missing, does not load here or is wrong', ({ expect }) => {
    const missing = (): never => {
      throw new Error('Cannot find module')
    }
    const broken = [missing, () => undefined, () => ({}), () => ({ crc32c: () => 1 }), () => ({ crc32c: missing })]
    for (const load of broken) expect(fastestCrc32c(load)).toBe(slicedCrc32c)
  })
})
