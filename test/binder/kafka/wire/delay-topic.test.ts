import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { MAX_DELAY_MS } from '../../../support/inside/binder.ts'
import { decodeRecord, encodeRecord, fromDelayed, TIERS_MS, toDelayed } from '../inside.ts'
import { plainMessage } from '../kit.ts'

const NOW = Date.UTC(2026, 10, 20)

describe('delay tiers', () => {
  it('bring a message to its destination not before it is due, and not later than the lateness of the last hop', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: MAX_DELAY_MS }),
        fc.array(fc.integer({ min: 0, max: 5_000 }), { minLength: 1, maxLength: 50 }),
        (delayMs, lateness) => {
          const due = NOW + delayMs
          let now = NOW
          let late = 0
          for (let hop = 0; now < due; hop++) {
            expect(hop).toBeLessThan(100)
            const { message, tier } = toDelayed(plainMessage({ notBefore: due }), now)
            const { until } = fromDelayed(message, 'orders.placed') ?? { until: Number.NaN }
            expect(until).toBeLessThanOrEqual(due)
            expect(tier === 0 ? due - now : until - now).toBe(tier === 0 ? until - now : TIERS_MS[tier])
            late = lateness[hop % lateness.length] ?? 0
            now = until + late
          }
          expect(now).toBeGreaterThanOrEqual(due)
          expect(now - due).toBeLessThanOrEqual(late)
        },
      ),
    )
  })

  it('carry the message as it was sent', () => {
    const message = plainMessage({ key: 'k', headers: { n: 7, tenant: 'acme' }, notBefore: NOW + 90_000 })
    const delayed = toDelayed(message, NOW).message
    const { key, value, headers } = encodeRecord(delayed)
    const record = { key: Buffer.from(key ?? ''), value, headers, timestamp: '0', offset: '0' }
    expect(fromDelayed(decodeRecord(delayed.destination, 6, record), 'orders.placed')).toEqual({
      until: NOW + 60_000,
      message: { ...message, body: new Uint8Array(message.body ?? []) },
    })
  })

  it('ignore foreign records in the topic', () => {
    expect(fromDelayed(plainMessage(), 'orders.placed')).toBeUndefined()
    const forged = { 'concordat-delay-due': 'soon', 'concordat-delay-until': 1 }
    expect(fromDelayed(plainMessage({ headers: forged }), 'orders.placed')).toBeUndefined()
  })
})
