import fc from 'fast-check'
import { describe, it } from 'vitest'
// oxlint-disable-next-line no-restricted-imports -- pure inside of the adapter
import { surplus } from '../../../../binder/rabbitmq/consuming/fair-partition-share.ts'

describe('share of partitions', () => {
  it.for([
    [{ partitions: 4, members: 1, idle: 0, active: 4 }, 0],
    [{ partitions: 4, members: 2, idle: 1, active: 4 }, 2],
    [{ partitions: 4, members: 3, idle: 1, active: 2 }, 1],
    [{ partitions: 4, members: 3, idle: 0, active: 2 }, 0],
    [{ partitions: 4, members: 8, idle: 4, active: 1 }, 0],
    [{ partitions: 4, members: 0, idle: 0, active: 4 }, 0],
  ] as const)('%o is over by %i', ([view, over], { expect }) => {
    expect(surplus(view)).toBe(over)
  })

  it('ends in a state where each has a share and all are stable', ({ expect }) => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 24 }), fc.integer({ min: 1, max: 12 }), (partitions, members) => {
        const held = Array.from({ length: members }, (_, i) => (i === 0 ? partitions : 0))
        settle(held, partitions)
        expect(Math.min(...held)).toBeGreaterThanOrEqual(partitions >= members ? 1 : 0)
        expect(Math.max(...held)).toBeLessThanOrEqual(Math.max(1, Math.ceil(partitions / members)))
      }),
    )
  })
})

/**
 * Lets members give up consumers in turn; each goes to the member with the fewest, as the broker's queue does in the
 * end.
 */
function settle(held: number[], partitions: number): void {
  for (let round = 0; round < 1_000; round++) {
    const idle = held.filter((count) => count === 0).length
    const giver = held.findIndex((active) => surplus({ partitions, members: held.length, idle, active }) > 0)
    if (giver < 0) return
    held[giver] = (held[giver] as number) - 1
    const least = held.indexOf(Math.min(...held.filter((_, i) => i !== giver)))
    held[least] = (held[least] as number) + 1
  }
  throw new Error(`no end: ${held.join(' ')}`)
}
