import { channelAt, defineChannel } from 'concordat/binder'
import { jsonCodec, textCodec } from 'concordat/core'
import { describe, expect, it } from 'vitest'
import { z } from 'zod'

describe('defineChannel', () => {
  it('fills in the defaults and freezes the declaration', () => {
    const channel = defineChannel('orders', { payload: z.string() })
    expect(channel).toMatchObject({ name: 'orders', partitions: 4, groups: [], key: undefined, codec: jsonCodec })
    expect(Object.isFrozen(channel)).toBe(true)
    expect(Object.isFrozen(channel.groups)).toBe(true)
  })

  it('keeps a copy of the groups', () => {
    const groups = ['a']
    const channel = defineChannel('orders', { payload: z.string(), groups, codec: textCodec as never })
    groups.push('b')
    expect(channel.groups).toEqual(['a'])
  })

  it.for(['', '.', '..', 'a b', 'a/b', 'a:b', 'ä', 'x'.repeat(201)])('refuses the name %j', (name) => {
    expect(() => defineChannel(name, { payload: z.string() })).toThrow(
      'defineChannel: expected a name of 1 to 200 characters out of A-Z a-z 0-9 . _ -',
    )
  })

  it('refuses the name that a redrive marks its end with', () => {
    const name = 'concordat.redrive.end'
    const refusal = 'expected another name: messages of this type mark the end of a redrive'
    expect(() => defineChannel(name, { payload: z.string() })).toThrow(refusal)
    const orders = defineChannel('orders', { payload: z.string() })
    expect(() => channelAt(orders, name)).toThrow(refusal)
  })

  it.for([
    [
      {},
      'defineChannel("orders").payload: expected a Standard Schema such as z.object({...}) of zod 3.24 or later, got undefined',
    ],
    [{ payload: { type: 'string' } }, 'defineChannel("orders").payload: expected a Standard Schema'],
    [{ payload: z.string(), partitions: 0 }, 'defineChannel("orders").partitions: expected a whole number >= 1'],
    [
      { payload: z.string(), retentionMs: 59_999 },
      'defineChannel("orders").retentionMs: expected a whole number >= 60000',
    ],
    [{ payload: z.string(), groups: ['a b'] }, 'defineChannel("orders").groups: expected a name'],
  ] as const)('refuses %o', ([options, message]) => {
    expect(() => defineChannel('orders', options as { payload: z.ZodString })).toThrow(message)
  })
})
