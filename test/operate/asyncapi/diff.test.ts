import { type AsyncapiDocument, asyncapi, asyncapiDiff } from '@concordat/cli/asyncapi'
import { defineChannel, sink } from 'concordat/binder'
import { describe, expect, test } from 'vitest'
import { z } from 'zod'
import { shop } from '../support/shop.ts'

const info = { title: 'Shop', version: '1' }
const never = (): never => {
  throw new Error('nothing of it runs')
}

type Options = Omit<Parameters<typeof defineChannel>[1], 'payload' | 'tombstones'>

const withMessage = (message: object, components: object = {}) => ({
  asyncapi: '3.0.0',
  channels: { orders: { messages: { m: message } } },
  components,
})

describe('of a document that means no good', () => {
  test('a field of a malicious document that is no text is shown as JSON', () => {
    const odd = { toString: 'x', valueOf: 1 }
    const { changes } = asyncapiDiff(withMessage({ contentType: 'a' }), withMessage({ contentType: odd }))
    expect(changes).toMatchObject([{ text: '{"toString":"x","valueOf":1}, and was a' }])
    const types = { payload: { type: [odd], required: [odd] } }
    expect(asyncapiDiff(withMessage({}), withMessage(types)).breaks).toBe(true)
  })

  test.each(['#/%', '#/__proto__/toString', '#/constructor'])('the reference %s leads nowhere', ($ref) => {
    const document = withMessage({ payload: { $ref } })
    expect(asyncapiDiff(document, document).breaks).toBe(false)
  })

  test('alternatives of alternatives are given up, and depth is refused', () => {
    const level = (n: number) => ({
      anyOf: [{ $ref: `#/components/s${n + 1}` }, { $ref: `#/components/s${n + 1}`, title: 'b' }],
    })
    const schemas = Object.fromEntries(Array.from({ length: 30 }, (_, n) => [`s${n}`, level(n)]))
    const [before, after] = [1, 2].map((minimum) =>
      withMessage({ payload: { $ref: '#/components/s0' } }, { ...schemas, s30: { type: 'number', minimum } }),
    )
    expect(asyncapiDiff(before, after).breaks).toBe(true)
    const deep = JSON.parse(`${'{"a":'.repeat(9_000)}1${'}'.repeat(9_000)}`) as object
    expect(() => asyncapiDiff(withMessage(deep), withMessage({}))).toThrow('at most 200 levels')
  })
})

/** A channel with a sender and a reader. */
function document(payload: z.ZodType, options: Options = {}): Promise<AsyncapiDocument> {
  const channel = defineChannel('orders', { payload, ...options })
  const reader = { name: 'reader', bindings: [sink(channel, { group: 'reader', onFailure: 'drop' }, never)] }
  return asyncapi({ services: [{ name: 'sender', sends: [channel] }, reader], info })
}

const base = { id: z.string() }
const Tree = z.object({
  name: z.string(),
  get below() {
    return z.array(Tree)
  },
})
const Deeper = z.object({
  name: z.string(),
  depth: z.int(),
  get below() {
    return z.array(Deeper)
  },
})
const paid = z.object({ kind: z.literal('paid'), cents: z.int() })
const free = z.object({ kind: z.literal('free') })

type Case = readonly [
  what: string,
  before: z.ZodType,
  after: z.ZodType,
  found: ReadonlyArray<readonly [string, string, string]>,
]

const BREAKING: readonly Case[] = [
  [
    'a new required property',
    z.object(base),
    z.object({ ...base, sku: z.string() }),
    [['new readers', 'sku', 'it is required, and may be missing']],
  ],
  [
    'a required property that may be missing',
    z.object({ ...base, sku: z.string() }),
    z.object({ ...base, sku: z.string().optional() }),
    [['old readers', 'sku', 'it is required, and may be missing']],
  ],
  [
    'a required property that is gone',
    z.object({ ...base, sku: z.string() }),
    z.object(base),
    [['old readers', 'sku', 'it is required, and may be missing']],
  ],
  [
    'another type',
    z.object({ n: z.string() }),
    z.object({ n: z.boolean() }),
    [
      ['new readers', 'n', 'string does not fit boolean'],
      ['old readers', 'n', 'boolean does not fit string'],
    ],
  ],
  [
    'a narrower type',
    z.object({ n: z.string().nullable() }),
    z.object({ n: z.string() }),
    [['new readers', 'n', 'null does not fit string']],
  ],
  [
    'a wider type',
    z.object({ n: z.string() }),
    z.object({ n: z.string().nullable() }),
    [['old readers', 'n', 'null does not fit string']],
  ],
  [
    'a value of an enum that is gone',
    z.object({ s: z.enum(['a', 'b']) }),
    z.object({ s: z.enum(['a']) }),
    [['new readers', 's', '"b" is not one of ["a"]']],
  ],
  [
    'an enum that becomes a text too short for one of its values',
    z.object({ s: z.enum(['pending', 'ok']) }),
    z.object({ s: z.string().max(3) }),
    [
      ['new readers', 's', '"pending" does not fit maxLength 3'],
      ['old readers', 's', 'anything does not fit ["pending","ok"]'],
    ],
  ],
  [
    'a literal that becomes a number above it',
    z.object({ n: z.literal(5) }),
    z.object({ n: z.number().gt(5).lt(7) }),
    [
      ['new readers', 'n', '5 does not fit exclusiveMinimum 5'],
      ['old readers', 'n', 'anything does not fit [5]'],
    ],
  ],
  [
    'a new value of an enum',
    z.object({ s: z.enum(['a']) }),
    z.object({ s: z.enum(['a', 'b']) }),
    [['old readers', 's', '"b" is not one of ["a"]']],
  ],
  [
    'text that becomes an enum',
    z.object({ s: z.string() }),
    z.object({ s: z.enum(['a']) }),
    [['new readers', 's', 'anything does not fit ["a"]']],
  ],
  [
    'a tighter bound',
    z.object({ n: z.number().max(9) }),
    z.object({ n: z.number().max(5) }),
    [['new readers', 'n', 'maximum is 5, and was 9']],
  ],
  [
    'a longer least length',
    z.object({ s: z.array(z.string()) }),
    z.object({ s: z.array(z.string()).min(1) }),
    [['new readers', 's', 'minItems is 1, and was none']],
  ],
  [
    'items of a list',
    z.object({ l: z.array(z.object({ sku: z.string() })) }),
    z.object({ l: z.array(z.object({ sku: z.string(), n: z.int() })) }),
    [['new readers', 'l[].n', 'it is required, and may be missing']],
  ],
  [
    'a property of a record',
    z.record(z.string(), z.string()),
    z.record(z.string(), z.string().nullable()),
    [['old readers', '*', 'null does not fit string']],
  ],
  [
    'an object that is closed',
    z.object(base),
    z.strictObject(base),
    [['new readers', '', 'other properties are not allowed any more']],
  ],
  [
    'a new property of a closed object',
    z.strictObject(base),
    z.strictObject({ ...base, note: z.string().optional() }),
    [['old readers', 'note', 'it is not allowed any more']],
  ],
  [
    'a place of a tuple',
    z.tuple([z.string(), z.string()]),
    z.tuple([z.string(), z.number()]),
    [
      ['new readers', '[1]', 'string does not fit number'],
      ['old readers', '[1]', 'number does not fit string'],
    ],
  ],
  [
    'an alternative that is gone',
    z.union([paid, free]),
    z.union([paid, z.object({ kind: z.literal('late') })]),
    [
      ['new readers', '', 'it fits none of the alternatives any more'],
      ['old readers', '', 'it fits none of the alternatives any more'],
    ],
  ],
  [
    'a pattern',
    z.object({ s: z.string() }),
    z.object({ s: z.string().regex(/^a/) }),
    [['new readers', 's', 'pattern is "^a", and was none']],
  ],
  ['what is below itself', Tree, Deeper, [['new readers', 'depth', 'it is required, and may be missing']]],
]

const HARMLESS: readonly Case[] = [
  ['a new optional property', z.object(base), z.object({ ...base, note: z.string().optional() }), []],
  ['an optional property that is gone', z.object({ ...base, note: z.string().optional() }), z.object(base), []],
  ['a property with a default', z.object(base), z.object({ ...base, n: z.number().default(1) }), []],
  ['a description', z.object(base), z.object(base).describe('An order.'), []],
  ['alternatives in another order', z.union([paid, free]), z.union([free, paid]), []],
  ['a schema that is below itself', Tree, Tree, []],
]

describe('a change of the payload', () => {
  test.each([...BREAKING, ...HARMLESS])('%s', async (_, before, after, found) => {
    const { breaks, changes } = asyncapiDiff(await document(before), await document(after))
    expect(changes.map((change) => [change.breaks, change.path, change.text])).toEqual(found)
    expect(breaks).toBe(found.length > 0)
  })
})

describe('a change of a channel', () => {
  const Order = z.object(base)
  const Later = z.object({ ...base, by: z.string() })

  test('is none between equal documents, however large', async () => {
    const write = () => asyncapi({ services: shop, info })
    expect(asyncapiDiff(await write(), await write())).toEqual({ breaks: false, changes: [] })
  })

  test('which is gone breaks its readers, and a new one breaks none', async () => {
    const [one, two] = [await document(Order), await asyncapi({ services: [{ name: 'sender', sends: [] }], info })]
    expect(asyncapiDiff(one, two)).toMatchObject({
      breaks: true,
      changes: [{ kind: 'channel-removed', breaks: 'all readers', channel: 'orders' }],
    })
    expect(asyncapiDiff(two, one)).toMatchObject({ breaks: false, changes: [{ kind: 'channel-added', breaks: 'no' }] })
  })

  test('a changed number of partitions, or key, loses the order', async () => {
    const before = await document(Order, { partitions: 4, key: () => 'k' })
    const { changes } = asyncapiDiff(before, await document(Order, { partitions: 8 }))
    expect(changes.map(({ kind, breaks }) => [kind, breaks])).toContainEqual(['partitions', 'all readers'])
    expect(changes.map(({ kind, breaks }) => [kind, breaks])).toContainEqual(['key', 'all readers'])
  })

  test('to a version that is made out of the old one breaks old readers only', async () => {
    const after = await document(Later, { version: 2, upcasts: { 1: (old) => old } })
    const { changes } = asyncapiDiff(await document(Order), after)
    expect(changes.map(({ kind, breaks }) => [kind, breaks])).toEqual([['version', 'old readers']])
  })

  test('to a version without a way from the old one breaks new readers, too', async () => {
    const { changes } = asyncapiDiff(await document(Order), await document(Later, { version: 2 }))
    expect(changes.map(({ kind, breaks }) => [kind, breaks])).toEqual([
      ['version', 'old readers'],
      ['version', 'new readers'],
      ['payload', 'new readers'],
    ])
  })

  test('whose last sender leaves breaks readers; a reader that leaves breaks none', async () => {
    const channel = defineChannel('orders', { payload: Order })
    const reader = { name: 'reader', bindings: [sink(channel, { group: 'reader', onFailure: 'drop' }, never)] }
    const both = await document(Order)
    const silent = asyncapiDiff(both, await asyncapi({ services: [reader], info }))
    expect(silent).toMatchObject({ breaks: true, changes: [{ kind: 'senders', breaks: 'all readers' }] })
    const unread = asyncapiDiff(both, await asyncapi({ services: [{ name: 'sender', sends: [channel] }], info }))
    expect(unread).toMatchObject({ breaks: false, changes: [{ kind: 'readers', breaks: 'no' }] })
  })
})

describe('documents of other tools', () => {
  const other = (type: string) => ({
    asyncapi: '3.1.0',
    channels: { c: { $ref: '#/components/channels/a~1b' } },
    components: {
      channels: { 'a/b': { address: 'a/b', messages: { m: { $ref: '#/components/messages/m' } } } },
      messages: { m: { payload: { schemaFormat: 'application/schema+json;version=draft-07', schema: { type } } } },
    },
  })

  test('are compared through their references', () => {
    expect(asyncapiDiff(other('string'), other('number')).changes).toMatchObject([
      { channel: 'a/b', breaks: 'new readers', text: 'string does not fit number' },
      { channel: 'a/b', breaks: 'old readers' },
    ])
  })

  test.each([
    [undefined, 'asyncapiDiff before: expected an AsyncAPI 3 document'],
    [{ asyncapi: '2.6.0' }, 'asyncapiDiff before.asyncapi: expected a document of AsyncAPI 3'],
  ])('are refused when they are none of AsyncAPI 3: %j', (given, says) => {
    expect(() => asyncapiDiff(given, other('string'))).toThrow(says)
  })
})
