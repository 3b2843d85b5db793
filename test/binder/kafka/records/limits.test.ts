import { createRequire } from 'node:module'
import { describe, it, vi } from 'vitest'
import { ChunkedBytes, CODECS, crc32c, heldBytes, readBatches, writeBatch } from '../inside.ts'
import { ROOMY, range } from '../kit.ts'

const require = createRequire(import.meta.url)
const CODEC_NAMES = ['gzip', 'snappy', 'lz4', 'zstd'] as const
const COUNT_AT = 57
const MB = 1_000_000

async function batchOf(values: readonly Buffer[], compression: 'none' | (typeof CODEC_NAMES)[number] = 'none') {
  const envelopes = values.map((value) => ({
    topic: 't',
    key: null,
    value,
    headers: {},
    bytes: value.length + 100,
    index: 0,
    place: 0,
  }))
  const identity = { id: -1, epoch: -1 }
  return writeBatch(envelopes, { time: 1, identity, sequence: -1, compression })
}

/** Encodes one record with headers in wire format. */
function recordOf(headers: Buffer, count: number): Buffer {
  const rest = Buffer.concat([Buffer.from([0, 0, 0, 1, 1]), varint(count), headers])
  return Buffer.concat([varint(rest.length), rest])
}

function varint(value: number): Buffer {
  const bytes: number[] = []
  let rest = value * 2
  for (; rest > 127; rest = Math.floor(rest / 128)) bytes.push((rest & 127) | 128)
  return Buffer.from([...bytes, rest])
}

async function withRecords(records: Buffer, count: number): Promise<Buffer> {
  const batch = Buffer.concat([(await batchOf([Buffer.alloc(0)])).subarray(0, 61), records])
  batch.writeInt32BE(batch.length - 12, 8)
  batch.writeInt32BE(count, COUNT_AT)
  batch.writeInt32BE(count - 1, 23)
  batch.writeUInt32BE(crc32c(batch.subarray(21)), 17)
  return batch
}

describe('a batch that decompresses to a thousand times its size', () => {
  it.for(CODEC_NAMES)('is not unpacked beyond the limit: %s', async (compression, { expect }) => {
    const bomb = await batchOf([Buffer.alloc(4 * MB)], compression)
    expect(bomb.length).toBeLessThan(MB)
    const lz4 = vi.spyOn(require('lz4js') as { decompressBlock: () => number }, 'decompressBlock')
    const snappy = vi.spyOn(require('snappyjs') as { uncompress: () => Buffer }, 'uncompress')
    const { messages, next, unreadable } = await readBatches(ChunkedBytes.of(bomb), 0, [], {
      ...ROOMY,
      maxBatchBytes: MB,
    })
    expect([messages, next, unreadable?.offset]).toEqual([[], 0, 0])
    expect(unreadable?.error).toMatchObject({ code: 'binder.kafka.batch_too_large', retryable: false })
    expect(unreadable?.error.message).toContain('raise maxBatchBytes')
    // The requested buffers fit into the limit.
    expect(lz4.mock.calls.length * 64 * 1024).toBeLessThanOrEqual(MB)
    expect(snappy.mock.calls.length * 32 * 1024).toBeLessThanOrEqual(MB)
    const { messages: all } = await readBatches(ChunkedBytes.of(bomb), 0, [], { ...ROOMY, maxBatchBytes: 5 * MB })
    expect(all.map(({ value }) => value?.length)).toEqual([4 * MB])
  })

  it.for(CODEC_NAMES)(
    'is read with a limit of just its size, and not with one byte less: %s',
    async (name, { expect }) => {
      const codec = Object.values(CODECS)[CODEC_NAMES.indexOf(name)] as (typeof CODECS)[number]
      const plain = Buffer.alloc(200_001, 'abc')
      const packed = await codec.compress(plain)
      expect((await codec.decompress(packed, plain.length)).equals(plain)).toBe(true)
      await expect(codec.decompress(packed, plain.length - 1)).rejects.toMatchObject({
        code: 'binder.kafka.batch_too_large',
      })
    },
  )

  it.for(['none', ...CODEC_NAMES] as const)(
    'is read in parts that fit the space, and keeps no more alive: %s',
    async (compression, { expect }) => {
      const batch = await batchOf(
        range(60).map((n) => Buffer.alloc(10_000, String(n))),
        compression,
      )
      const room = 50_000
      const values: string[] = []
      for (let from = 0; from < 60; ) {
        const {
          messages,
          next,
          heldBytes: held,
        } = await readBatches(ChunkedBytes.of(batch), from, [], { ...ROOMY, roomBytes: room })
        expect(held).toBe(messages.reduce((sum, message) => sum + heldBytes(message), 0))
        expect(held).toBeLessThanOrEqual(room)
        for (const { value } of messages) expect(value?.buffer.byteLength).toBeLessThanOrEqual(MB)
        if (compression !== 'none')
          for (const { value } of messages) expect(value?.buffer.byteLength).toBeLessThanOrEqual(4 * room)
        expect(messages.map(({ offset }) => offset)).toEqual(range(messages.length, from))
        values.push(...messages.map(({ value }) => String(value?.subarray(0, 3))))
        expect(next).toBe(from + messages.length)
        from = next
      }
      expect(values).toEqual(range(60).map((n) => String(n).repeat(3).slice(0, 3)))
    },
  )
})

describe('the memory kept of an answer in pieces', () => {
  const KB = 1_024
  /** Cuts into buffers with memory of their own, as sockets deliver them, and not in Node's pool. */
  const inPieces = (all: Buffer, size: number) =>
    new ChunkedBytes(range(Math.ceil(all.length / size)).map((n) => own(all.subarray(n * size, (n + 1) * size))))
  const own = (part: Buffer) => Buffer.from(Uint8Array.from(part).buffer)

  it('is that of the pieces, except for records across a border', async ({ expect }) => {
    const batch = await batchOf(range(100).map(() => Buffer.alloc(3 * KB, 'x')))
    const pieces = inPieces(batch, 64 * KB)
    const { messages } = await readBatches(pieces, 0, [], ROOMY)
    const came = new Set(pieces.buffers.map(({ buffer }) => buffer))
    const copied = messages.filter(({ value }) => value !== null && !came.has(value.buffer as ArrayBuffer))
    expect(messages).toHaveLength(100)
    expect(copied.length).toBeLessThanOrEqual(pieces.buffers.length)
  })

  it('is a copy where only little of a piece is needed', async ({ expect }) => {
    const batch = await batchOf(range(500).map(() => Buffer.alloc(300, 'x')))
    const pieces = inPieces(batch, 64 * KB)
    const { messages } = await readBatches(pieces, 3, [], { ...ROOMY, roomBytes: 2 * KB })
    const came = new Set(pieces.buffers.map(({ buffer }) => buffer))
    expect(messages.length).toBeGreaterThan(0)
    expect(messages.filter(({ value }) => value !== null && came.has(value.buffer as ArrayBuffer))).toEqual([])
  })

  it('is not the answer, where most of it is of other partitions', async ({ expect }) => {
    const batch = await batchOf([Buffer.alloc(100, 'x')])
    const others = Buffer.alloc(64 * KB)
    batch.copy(others, 5_000)
    const { messages } = await readBatches(
      new ChunkedBytes([others.subarray(5_000, 5_000 + batch.length)]),
      0,
      [],
      ROOMY,
    )
    expect(messages).toHaveLength(1)
    expect(messages[0]?.value?.buffer).not.toBe(others.buffer)
  })
})

describe('a record', () => {
  it('is taken alone, with any space, unless it exceeds the limit of a batch', async ({ expect }) => {
    const batch = await batchOf([Buffer.alloc(50_000), Buffer.alloc(10)])
    const first = await readBatches(ChunkedBytes.of(batch), 0, [], { ...ROOMY, roomBytes: 0 })
    expect([first.messages.length, first.next]).toEqual([1, 1])
    const { messages, unreadable } = await readBatches(ChunkedBytes.of(batch), 0, [], {
      ...ROOMY,
      maxBatchBytes: 40_000,
    })
    expect([messages, unreadable?.error]).toMatchObject([[], { code: 'binder.kafka.batch_too_large' }])
  })

  it('with a million headers of two bytes is refused for their size in memory', async ({ expect }) => {
    const headers = Buffer.alloc(2 * MB, Buffer.from([0, 1]))
    const batch = await withRecords(recordOf(headers, MB), 1)
    const { unreadable } = await readBatches(ChunkedBytes.of(batch), 0, [], { ...ROOMY, maxBatchBytes: 32 * MB })
    expect(unreadable?.error).toMatchObject({ code: 'binder.kafka.batch_too_large' })
  })

  it('with 200 000 headers of one name is read in one pass', async ({ expect }) => {
    const headers = Buffer.alloc(600_000, Buffer.from([2, 0x61, 0]))
    const { messages } = await readBatches(
      ChunkedBytes.of(await withRecords(recordOf(headers, 200_000), 1)),
      0,
      [],
      ROOMY,
    )
    expect(messages[0]?.headers?.['a']).toHaveLength(200_000)
    expect(messages[0]?.bytes).toBeGreaterThan(200_000 * 50)
  })

  it('without bytes does not take those of the next one', async ({ expect }) => {
    const { messages, unreadable } = await readBatches(
      ChunkedBytes.of(await withRecords(Buffer.alloc(5_000), 4_000)),
      0,
      [],
      ROOMY,
    )
    expect(messages).toEqual([])
    expect(unreadable?.error.message).toMatch(/a record of 0 bytes at 0 has more than that/)
  })
})
