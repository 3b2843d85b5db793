import { type EncodedMessage, type Headers } from 'concordat/binder'
import { newId } from '../../support/inside/core.ts'
import { until as untilItHolds } from '../../support/until.ts'

const encoder = new TextEncoder()

export function message(id: string, key: string | null = 'k', more: Partial<EncodedMessage> = {}): EncodedMessage {
  return {
    id,
    destination: 'orders.placed',
    key,
    type: 'orders.placed',
    source: 'orders',
    contentType: 'application/json',
    time: 1_700_000_000_000,
    headers: {} satisfies Headers,
    body: encoder.encode(JSON.stringify({ id })),
    ...more,
  }
}

/** Polls a condition that has no signal. */
export function until(condition: () => boolean | Promise<boolean>, what: string, timeoutMs = 20_000): Promise<void> {
  return untilItHolds(what, condition, timeoutMs)
}

export function uniqueName(prefix: string): string {
  return `${prefix}_${newId().replaceAll('-', '').slice(-12)}`
}
