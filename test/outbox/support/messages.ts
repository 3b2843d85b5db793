import { type EncodedMessage, type Headers } from 'concordat/binder'
import { newId } from '../../support/inside/core.ts'

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
export async function until(
  condition: () => boolean | Promise<boolean>,
  what: string,
  timeoutMs = 20_000,
): Promise<void> {
  const deadline = performance.now() + timeoutMs
  while (!(await condition())) {
    if (performance.now() > deadline) throw new Error(`not within ${timeoutMs} ms: ${what}`)
    await new Promise((resolve) => setTimeout(resolve, 5))
  }
}

export function uniqueName(prefix: string): string {
  return `${prefix}_${newId().replaceAll('-', '').slice(-12)}`
}
