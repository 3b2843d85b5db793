import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { readLines } from '../../../../examples/order-payment/intake/lines.ts'

async function* chunksOf(bytes: Uint8Array, sizes: readonly number[]): AsyncGenerator<Uint8Array> {
  for (let from = 0, i = 0; from < bytes.length; i++) {
    const size = sizes[i % sizes.length] ?? bytes.length
    yield bytes.subarray(from, from + size)
    from += size
  }
}

async function linesOf(text: string, maxBytes = 100, sizes: readonly number[] = [1_000]) {
  const lines: Array<readonly [number, string | undefined]> = []
  for await (const { line, bytes } of readLines(chunksOf(Buffer.from(text), sizes), maxBytes)) {
    lines.push([line, bytes === undefined ? undefined : Buffer.from(bytes).toString()])
  }
  return lines
}

describe('lines of an orders file', () => {
  test.each([
    ['nothing', '', []],
    ['blank lines only', '\n \r\n\t\n', []],
    [
      'LF',
      'a\nb\n',
      [
        [1, 'a'],
        [2, 'b'],
      ],
    ],
    [
      'CR LF',
      'a\r\nb\r\n',
      [
        [1, 'a'],
        [2, 'b'],
      ],
    ],
    [
      'no end of the last line',
      'a\nb',
      [
        [1, 'a'],
        [2, 'b'],
      ],
    ],
    [
      'blank lines between, which count',
      'a\n\n  \nb',
      [
        [1, 'a'],
        [4, 'b'],
      ],
    ],
    ['a CR in the middle', 'a\rb\n', [[1, 'a\rb']]],
  ] as const)('%s', async (_, text, lines) => {
    expect(await linesOf(text)).toEqual(lines)
  })

  test('a line of exactly the limit passes, one byte more does not, and the next is read', async () => {
    const limit = 'x'.repeat(100)
    expect(await linesOf(`${limit}\r\n${limit}y\n${limit}\nz`)).toEqual([
      [1, limit],
      [2, undefined],
      [3, limit],
      [4, 'z'],
    ])
  })

  test('a line of 10 MiB in small chunks is not kept', async () => {
    async function* giant(): AsyncGenerator<Uint8Array> {
      for (let i = 0; i < 10 * 1_024; i++) yield new Uint8Array(1_024).fill(0x61)
      yield Buffer.from('\nafter\n')
    }
    const before = process.memoryUsage().arrayBuffers
    const lines: unknown[] = []
    for await (const { line, bytes } of readLines(giant(), 100)) lines.push([line, bytes?.length])
    expect(lines).toEqual([
      [1, undefined],
      [2, 5],
    ])
    expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(9 * 1_024 * 1_024)
  })

  test('any cuts between chunks give the same lines', async () => {
    const line = fc.string({ maxLength: 20 }).map((text) => text.replaceAll('\n', ''))
    await fc.assert(
      fc.asyncProperty(
        fc.array(line, { maxLength: 20 }),
        fc.constantFrom('\n', '\r\n'),
        fc.array(fc.integer({ min: 1, max: 9 }), { minLength: 1, maxLength: 5 }),
        async (lines, end, sizes) => {
          const text = lines.join(end)
          expect(await linesOf(text, 12, sizes)).toEqual(await linesOf(text, 12))
        },
      ),
    )
  })
})
