import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
// oxlint-disable-next-line no-restricted-imports -- pure inside of the adapter
import { publishArguments } from '../../../../binder/rabbitmq/publishing/publish-arguments.ts'
// oxlint-disable-next-line no-restricted-imports -- pure inside of the adapter
import { DelayLadder } from '../../../../binder/rabbitmq/topology/delay-ladder.ts'
// oxlint-disable-next-line no-restricted-imports -- pure inside of the adapter
import { partsOf } from '../../../../binder/rabbitmq/topology/provision.ts'
import { MAX_DELAY_MS } from '../../../support/inside/binder.ts'
import { plainMessage } from '../messages.ts'

const spec = { name: 'orders', partitions: 1, groups: [], delays: true }
const ladder = new DelayLadder('shop')
const parts = partsOf(spec, { queueArguments: {}, places: new Map() }, ladder)
const queue = (name: string) => parts.find((part) => part.kind === 'queue' && part.name === name)?.details
const exchange = (name: string) => parts.find((part) => part.kind === 'exchange' && part.name === name)?.details

/** Walks a message down the ladder as the broker would. @returns its wait and its destination */
function walk(leftMs: number): { waitMs: number; end: unknown } {
  const { exchange: entry, headers } = ladder.route('orders', leftMs)
  let waitMs = 0
  let at: unknown = entry
  while (typeof at === 'string' && at.startsWith('concordat:delay:shop:level:')) {
    const level = at.slice('concordat:delay:shop:level:'.length)
    const held = headers[`concordat-delay-${level}`] === true ? queue(at) : undefined
    waitMs += Number(held?.['x-message-ttl'] ?? 0)
    at = held === undefined ? exchange(at)?.['alternate-exchange'] : held['x-dead-letter-exchange']
  }
  return { waitMs, end: at }
}

describe('the delay ladder', () => {
  it('holds a message for its delay, rounded up to 100 ms', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: MAX_DELAY_MS }), (leftMs) => {
        expect(walk(leftMs)).toEqual({ waitMs: Math.ceil(leftMs / 100) * 100, end: 'concordat:delay:shop:due' })
      }),
      { examples: [[1], [100], [101], [MAX_DELAY_MS]] },
    )
  })

  it('holds a message of a sender whose clock is ahead no longer than the longest delay', () => {
    const now = 1_700_000_000_000
    const late = plainMessage({ notBefore: now + MAX_DELAY_MS + 20_000 })
    const limits = { maxBytes: 1_000, frameMax: 131_072 }
    const { exchange } = publishArguments(late, 'orders', 'refuse', limits, ladder, now)
    expect(exchange).toBe(ladder.route('orders', MAX_DELAY_MS).exchange)
  })

  it('enters at a level that holds it, and names the destination', () => {
    expect(ladder.route('orders', 12_800)).toEqual({
      exchange: 'concordat:delay:shop:level:7',
      headers: { 'concordat-delay-to': 'orders', 'concordat-delay-7': true },
    })
    expect(queue('concordat:delay:shop:due:orders')).toMatchObject({ 'x-dead-letter-exchange': 'orders' })
  })

  it('moves messages only with a confirm: quorum queues that dead-letter at least once', () => {
    for (const { details } of parts.filter(({ kind }) => kind === 'queue')) {
      expect(details).toMatchObject({
        durable: true,
        'x-queue-type': 'quorum',
        'x-dead-letter-strategy': 'at-least-once',
        'x-overflow': 'reject-publish',
      })
    }
  })
})
