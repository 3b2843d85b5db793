import { describe, expect, it } from 'vitest'
import { copyData } from '../../core/copy-data.ts'

describe('copyData', () => {
  it('shares no arrays, objects, bytes or dates with the original', () => {
    const original = { list: [{ n: 1 }], bytes: Uint8Array.of(1), at: new Date(0), nothing: null, name: 'x' }
    const copy = copyData(original)
    expect(copy).toEqual(original)
    original.list[0] = { n: 2 }
    original.bytes[0] = 2
    original.at.setTime(5)
    expect(copy).toEqual({ list: [{ n: 1 }], bytes: Uint8Array.of(1), at: new Date(0), nothing: null, name: 'x' })
  })

  it('keeps instances of classes and a property called __proto__', () => {
    const map = new Map()
    const hostile: unknown = JSON.parse('{"__proto__":{"admin":true}}')
    const copy = copyData({ map, hostile })
    expect(copy.map).toBe(map)
    expect(Object.getOwnPropertyNames(copy.hostile)).toEqual(['__proto__'])
    expect((copy.hostile as { admin?: boolean }).admin).toBeUndefined()
  })

  it('ends with data that is cyclic', () => {
    const loop: { self?: unknown } = {}
    loop.self = loop
    expect(copyData(loop)).toHaveProperty('self.self')
  })
})
