// oxlint-disable no-restricted-imports -- a small part with rules of its own, not reachable from outside
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { type Slot, SwapRemoveSet } from '../../locks/swap-remove-set.ts'

describe('a bag', () => {
  it('holds added and not removed items, in any order, and a second removal has no effect', () => {
    const step = fc.record({ add: fc.boolean(), which: fc.nat(20) })
    fc.assert(
      fc.property(fc.array(step, { maxLength: 200 }), (steps) => {
        const bag = new SwapRemoveSet<number>()
        const expected = new Set<number>()
        const places: Array<Slot<number>> = []
        for (const [n, { add, which }] of steps.entries()) {
          if (add) {
            places.push(bag.add(n))
            expected.add(n)
          } else {
            const place = places[which]
            if (place === undefined) continue
            bag.remove(place)
            expected.delete(place.item)
          }
          expect(bag.size).toBe(expected.size)
        }
        expect([...bag].toSorted((a, b) => a - b)).toEqual([...expected])
      }),
    )
  })

  it('shows each item once to an iteration during removals, and no removed one', () => {
    const bag = new SwapRemoveSet<string>()
    const places = ['a', 'b', 'c', 'd'].map((item) => bag.add(item))
    const seen: string[] = []
    for (const item of bag) {
      seen.push(item)
      if (item === 'a') for (const place of places.slice(0, 2)) bag.remove(place)
      if (item === 'c') bag.add('e')
    }
    expect(seen).toEqual(['a', 'c', 'd'])
    expect([...bag].toSorted()).toEqual(['c', 'd', 'e'])
  })
})
