import { formatAddress, matchesAddress } from 'concordat/bus'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { parseAddress } from '../support/inside/bus.ts'
import { inputs } from '../support/suite/night.ts'

const name = fc.stringMatching(/^[A-Za-z0-9._-]{1,12}$/)
const address = fc.record({ service: name, group: name, instance: name })
/** Few names, so that they meet. */
const fewNames = fc.constantFrom('a', 'b', 'orders')
const fewAddresses = fc.record({ service: fewNames, group: fewNames, instance: fewNames })
const part = fc.oneof(fewNames, fc.constant('*'))
const pattern = fc.oneof(
  fc.tuple(part, part, part).map((parts) => parts.join(':')),
  fc.array(part, { maxLength: 2 }).map((parts) => [...parts, '**'].join(':')),
)

/** The meaning once more, said otherwise. */
function toRegExp(text: string): RegExp {
  const parts = text.split(':').map((each) => {
    if (each === '**') return '.+'
    return each === '*' ? '[^:]+' : each.replaceAll(/[.]/g, '\\.')
  })
  return new RegExp(`^${parts.join(':')}$`)
}

describe('addresses', () => {
  it('are parsed to the written form', () => {
    fc.assert(
      fc.property(address, (each) => {
        expect(parseAddress(formatAddress(each))).toEqual({ ...each })
      }),
    )
  })

  it('match themselves, with any part replaced by *, and any end by **', () => {
    fc.assert(
      fc.property(address, fc.subarray([0, 1, 2]), fc.integer({ min: 0, max: 2 }), (each, starred, end) => {
        const parts = [each.service, each.group, each.instance]
        const withStars = parts.map((text, i) => (starred.includes(i) ? '*' : text))
        expect(matchesAddress(parts.join(':'), each)).toBe(true)
        expect(matchesAddress(withStars.join(':'), each)).toBe(true)
        expect(matchesAddress([...withStars.slice(0, end), '**'].join(':'), each)).toBe(true)
      }),
    )
  })

  it('match the same as the pattern’s regular expression', () => {
    fc.assert(
      fc.property(pattern, fewAddresses, (text, each) => {
        expect(matchesAddress(text, each)).toBe(toRegExp(text).test(formatAddress(each)))
      }),
      { numRuns: inputs(1_000) },
    )
  })

  it('are refused with bus.address and nothing else, for any text', () => {
    const text = fc.oneof(fc.string({ unit: 'binary' }), fc.stringMatching(/^[a*:]{0,9}$/))
    fc.assert(
      fc.property(text, (each) => {
        for (const read of [() => parseAddress(each), () => matchesAddress(each, 'a:b:c')]) {
          try {
            read()
          } catch (error) {
            expect(error).toMatchObject({ code: 'bus.address' })
          }
        }
      }),
    )
  })
})

describe('a pattern', () => {
  it.for([
    ['orders', 'orders:**'],
    ['', 'fewer parts that end in **'],
    ['orders:eu', 'fewer parts that end in **'],
    ['a:b:c:**', 'expected service:group:instance'],
    ['**:a:b', '** may only stand at the end'],
    ['o*:**', '* alone'],
    ['a::c', '* alone'],
    ['a:b:c d', '* alone'],
    ['a:b:__proto__:x', 'expected service:group:instance'],
    [`a:b:${'c'.repeat(500)}`, 'at most 100 characters'],
  ] as const)('"%s" is refused: %s', ([text, says]) => {
    expect(() => matchesAddress(text, 'a:b:c')).toThrow(says)
  })

  it('a pattern of nothing but a service is refused, and the remedy shows how to write it', () => {
    expect(() => matchesAddress('orders', 'orders:eu:a')).toThrow('"orders:**"')
  })

  it('takes names that objects have, as names', () => {
    expect(matchesAddress('__proto__:constructor:*', '__proto__:constructor:x')).toBe(true)
  })
})
