import { gzipSync } from 'node:zlib'
import { describe, it } from 'vitest'
import { ByteWriter, CODECS, decodeFetch } from '../../inside.ts'
import { range } from '../../kit.ts'

const GZIP = 1

/** A message of before Kafka 0.11, in format 0 or 1. */
function entry(offset: number, magic: 0 | 1, compression: number, value: Buffer): Buffer {
  const body = new ByteWriter().int32(0).int8(magic).int8(compression)
  if (magic === 1) body.int64(1_700_000_000_000)
  const { bytes } = body.int32(-1).bytesField(value)
  return new ByteWriter().int64(offset).bytesField(bytes).bytes
}

function compressed(magic: 0 | 1, values: readonly Buffer[]): Buffer {
  const inner = Buffer.concat(values.map((value, n) => entry(n, magic, 0, value)))
  return entry(values.length - 1, magic, GZIP, gzipSync(inner))
}

async function read(set: Buffer, maxBatchBytes: number) {
  const to = new ByteWriter()
  to.int32(0).array(['t'], (topic) => {
    to.string(topic).array([0], (partition) => {
      to.int32(partition).int16(0).int64(9).int64(9).int32(0).bytesField(set)
    })
  })
  const limits = { answerBytes: 1e9, roomBytes: 1e9, maxBatchBytes }
  const reading = { ...limits, findCodec: (type: number) => CODECS[type], turn: 0, startOf: () => 0 }
  const { responses } = await decodeFetch(4, to.bytes, reading)
  const { messages = [], unreadable } = responses[0]?.partitions[0] ?? {}
  return { values: messages.map(({ value }) => value?.length), unreadable }
}

describe.for([0, 1] as const)('a set of messages in format %s', (magic) => {
  it('is read when its decompressed size is within the limit', async ({ expect }) => {
    const values = range(3).map((n) => Buffer.alloc(1_000 + n, 'x'))
    expect(await read(compressed(magic, values), 10_000)).toEqual({
      values: [1_000, 1_001, 1_002],
      unreadable: undefined,
    })
    expect((await read(entry(0, magic, 0, Buffer.alloc(500)), 10_000)).values).toEqual([500])
  })

  it('is not unpacked beyond it, all of an answer together', async ({ expect }) => {
    const one = compressed(magic, [Buffer.alloc(600_000)])
    expect((await read(one, 1_000_000)).values).toEqual([600_000])
    const { values, unreadable } = await read(Buffer.concat([one, one]), 1_000_000)
    expect(values).toEqual([])
    expect(unreadable?.error).toMatchObject({ code: 'binder.kafka.batch_too_large' })
  })
})
