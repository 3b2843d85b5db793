import fc from 'fast-check'
import { expect, test } from 'vitest'
import { CachedHeaderReader } from '../inside.ts'

type Value = Buffer | string | null
type Pair = readonly [name: string, value: Value]

const name = fc.oneof(
  { weight: 4, arbitrary: fc.constantFrom('ce_id', 'ce_type', 'tenant') },
  fc.constantFrom('', 'é', '__proto__', 'constructor', 'x'.repeat(70)),
)
const value = fc.oneof(
  { weight: 4, arbitrary: fc.constantFrom<Value>('a', 'b', 'longer', null) },
  fc.constantFrom<Value>('', 'é', 'y'.repeat(70), Buffer.from([0xff, 0])),
)
const pairs = fc.array(fc.tuple(name, value), { maxLength: 5 })
/** Many a record has the names of the one before, or all of it. */
const records = fc
  .array(fc.record({ pairs, as: fc.constantFrom('itself', 'names', 'same') }), { minLength: 1, maxLength: 12 })
  .map((each) =>
    each.reduce<Pair[][]>((all, { pairs: own, as }) => {
      const before = all.at(-1)
      if (before === undefined || as === 'itself') return [...all, own]
      return [...all, before.map(([known, kept], i) => [known, as === 'same' ? kept : (own[i]?.[1] ?? kept)])]
    }, []),
  )

test('headers are what their bytes say, whatever the record before had', () => {
  fc.assert(
    fc.property(records, (each) => {
      const headers = new CachedHeaderReader()
      for (const pair of each) {
        const prefix = Buffer.from('before')
        const read = headers.read(Buffer.concat([prefix, encoded(pair)]), prefix.length)
        expect(asBytes(Object.entries(read))).toEqual(asBytes(Object.entries(byHand(pair))))
        expect(Object.getPrototypeOf(read)).toBe(Object.prototype)
      }
    }),
    { numRuns: 2_000 },
  )
})

test('what was read before stays as it is', () => {
  const headers = new CachedHeaderReader()
  const first = headers.read(encoded([['ce_id', 'a']]), 0)
  const second = headers.read(encoded([['ce_id', 'b']]), 0)
  expect([first, second]).toEqual([{ ce_id: 'a' }, { ce_id: 'b' }])
})

/** A name that is repeated has a list of its values. */
function byHand(each: readonly Pair[]): Record<string, unknown> {
  const values = new Map<string, unknown>()
  for (const [own, one] of each) {
    const known = values.get(own)
    if (known === undefined) values.set(own, one ?? undefined)
    else values.set(own, [known, one ?? ''].flat())
  }
  return Object.fromEntries(values)
}

function asBytes(entries: ReadonlyArray<readonly [string, unknown]>): unknown {
  return entries.map(([own, one]) => [own, Array.isArray(one) ? one.map(toBytes) : toBytes(one)])
}

function toBytes(one: unknown): string | undefined {
  return one === undefined ? undefined : Buffer.from(one as string).toString('hex')
}

function encoded(each: readonly Pair[]): Buffer {
  const parts = each.flatMap(([own, one]) => [field(own), one === null ? varint(-1) : field(one)])
  return Buffer.concat([varint(each.length), ...parts])
}

function field(one: Buffer | string): Buffer {
  const bytes = Buffer.from(one as string)
  return Buffer.concat([varint(bytes.length), bytes])
}

/** Zigzag, as Kafka writes lengths. */
function varint(number: number): Buffer {
  const bytes: number[] = []
  let left = number < 0 ? -2 * number - 1 : 2 * number
  for (; left > 0x7f; left = Math.floor(left / 128)) bytes.push((left % 128) | 0x80)
  return Buffer.from([...bytes, left])
}
