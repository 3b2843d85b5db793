// oxlint-disable no-restricted-imports -- where an id belongs is computed by code that has no other door
import { describe, expect, test } from 'vitest'
import { homeOf, homesOf, isFollowedBy, layoutOf } from '../../../saga/sharding/layout.ts'

const ids = Array.from({ length: 10_000 }, (_, n) => `order-${n}`)

describe('the home of an id', () => {
  test('is the same in every release: sagas are found by it', () => {
    const homes = ['o-1', 'o-2', 'o-3', 'o-4', 'o-5', 'o-6', 'été/7', ''].map((id) => homeOf(['a', 'b', 'c'], id))
    expect(homes.join(' ')).toBe('b c c c c a c a')
  })

  test('does not depend on the order of the names', () => {
    for (const id of ids.slice(0, 200)) expect(homeOf(['a', 'b', 'c'], id)).toBe(homeOf(['c', 'a', 'b'], id))
  })

  test('is each of four shards for about a quarter of the ids', () => {
    const counts = new Map<string, number>()
    for (const id of ids) {
      const home = homeOf(['a', 'b', 'c', 'd'], id)
      counts.set(home, (counts.get(home) ?? 0) + 1)
    }
    for (const count of counts.values()) expect(Math.abs(count - 2_500)).toBeLessThan(200)
  })

  test('changes only for ids that move to the added shard', () => {
    const moved = ids.filter((id) => homeOf(['a', 'b'], id) !== homeOf(['a', 'b', 'c'], id))
    expect(new Set(moved.map((id) => homeOf(['a', 'b', 'c'], id)))).toEqual(new Set(['c']))
    expect(Math.abs(moved.length - 3_333)).toBeLessThan(200)
  })

  test('comes with the homes under earlier layouts, the oldest first and each once', () => {
    const layouts = [['a'], ['a', 'b'], ['b', 'c'], ['a', 'b', 'c']]
    for (const id of ids.slice(0, 200)) {
      const { home, older } = homesOf(layouts, id)
      expect(home).toBe(homeOf(['a', 'b', 'c'], id))
      const before = layouts.slice(0, 3).map((layout) => homeOf(layout, id))
      expect(older).toEqual([...new Set(before)].filter((name) => name !== home))
    }
  })
})

test('layouts follow one another only when none of the earlier ones changed', () => {
  expect(layoutOf(['b', 'a', 'b'])).toEqual(['a', 'b'])
  expect(isFollowedBy([], [['a']])).toBe(true)
  expect(isFollowedBy([['a']], [['a'], ['a', 'b']])).toBe(true)
  expect(isFollowedBy([['a']], [['a']])).toBe(true)
  expect(isFollowedBy([['a'], ['a', 'b']], [['a']])).toBe(false)
  expect(isFollowedBy([['a']], [['b'], ['a', 'b']])).toBe(false)
  expect(isFollowedBy([['a']], [['a', 'b']])).toBe(false)
})
