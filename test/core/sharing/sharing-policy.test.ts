// oxlint-disable no-restricted-imports -- a small part with rules of its own, not reachable from outside
import { describe, expect, test } from 'vitest'
import type { Piece } from '../../../core/sharing/open-transaction.ts'
import { PiecesAwaitingTransaction } from '../../../core/sharing/pieces-awaiting-transaction.ts'
import { SharingPolicy } from '../../../core/sharing/sharing-policy.ts'

function paced(floorMs: number): SharingPolicy {
  const pace = new SharingPolicy()
  pace.took(floorMs)
  return pace
}

describe('how work shares transactions', () => {
  test('nothing is shared before the duration of the work is known', () => {
    const pace = new SharingPolicy()
    expect(pace.transactions(64, 10)).toBe(10)
    expect(pace.share(64, 10, 0)).toBe(1)
  })

  test('quick work shares two transactions', () => {
    expect(paced(0.3).transactions(64, 10)).toBe(2)
    expect(paced(0.3).share(64, 2, 0)).toBe(32)
    expect(paced(0.3).share(5, 2, 0)).toBe(3)
  })

  test('work on a database far away keeps every connection busy', () => {
    expect(paced(4).transactions(64, 10)).toBe(10)
    expect(paced(4).share(64, 10, 0)).toBe(5)
  })

  test('slow work is alone', () => {
    expect(paced(30).transactions(16, 10)).toBe(10)
    expect(paced(30).share(16, 10, 0)).toBe(1)
  })

  test('a slow piece does not make quick work slow, many do', () => {
    const pace = paced(0.5)
    pace.took(40)
    expect(pace.share(64, 2, 0)).toBeGreaterThan(16)
    for (let i = 0; i < 1_000; i++) pace.took(40)
    expect(pace.share(64, 2, 0)).toBe(1)
  })

  test('a conflict ends sharing for a second, the next for two', () => {
    const pace = paced(0.5)
    pace.conflicted(0)
    expect(pace.share(10, 2, 999)).toBe(1)
    expect(pace.share(10, 2, 1_000)).toBe(5)
    pace.conflicted(1_000)
    expect(pace.share(10, 2, 2_999)).toBe(1)
    expect(pace.share(10, 2, 3_000)).toBe(5)
  })

  test('a thousand without a conflict make the next pause short again', () => {
    const pace = paced(0.5)
    for (const at of [0, 1_000, 3_000]) pace.conflicted(at)
    for (let i = 0; i < 1_000; i++) pace.shared()
    pace.conflicted(10_000)
    expect(pace.share(10, 2, 11_000)).toBe(5)
  })

  test('work that needs transactions of its own has them from then on', () => {
    const pace = paced(0.5)
    pace.endSharing()
    expect(pace.share(64, 2, 1e12)).toBe(1)
  })

  /** Records `count` pieces of work, each done with one statement. */
  const singles = (pace: SharingPolicy, count: number): void => {
    for (let i = 0; i < count; i++) {
      pace.ran(true)
      pace.shared()
    }
  }

  test('a thousand in a row that ended with their one statement may go together', () => {
    const pace = paced(0.5)
    singles(pace, 999)
    expect(pace.mayGoTogether).toBe(false)
    singles(pace, 1)
    expect(pace.mayGoTogether).toBe(true)
    pace.ran(false)
    expect(pace.mayGoTogether).toBe(false)
    singles(pace, 1_000)
    expect(pace.mayGoTogether).toBe(true)
  })

  test('a piece that needed a second statement makes twice as many go one by one, though others of its transaction do not', () => {
    const pace = paced(0.5)
    singles(pace, 1_000)
    for (let i = 0; i < 32; i++) pace.several()
    singles(pace, 1_999)
    expect(pace.mayGoTogether).toBe(false)
    expect(pace.isTrusted).toBe(true)
    singles(pace, 1)
    expect(pace.mayGoTogether).toBe(true)
  })

  test('work with savepoints is not shared', () => {
    const pace = paced(0.5)
    singles(pace, 1_000)
    pace.failed()
    expect(pace.mayGoTogether).toBe(false)
  })
})

test('a piece that must be alone shares its transaction neither with those before it nor with those behind it', () => {
  const waiting = new PiecesAwaitingTransaction<string>(undefined)
  const piece = (item: string, mustBeAlone: boolean) => ({ item, mustBeAlone }) as Piece<string>
  for (const each of [piece('a', false), piece('b', true), piece('c', false), piece('d', false)]) waiting.push(each)
  const taken = [1, 2, 3].map(() => waiting.take(10).map(({ item }) => item))
  expect(taken).toEqual([['a'], ['b'], ['c', 'd']])
})
