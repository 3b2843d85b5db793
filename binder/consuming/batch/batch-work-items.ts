/** The messages of a batch that is at work, and what a handler call made of each. */

import type { ResolvedConsumer } from '../../bindings/resolve-options.ts'
import type { Channel } from '../../channel/channel.ts'
import type { TransportDelivery } from '../../transport/transport.ts'
import { freshPayload } from '../fresh-payload.ts'

export interface BatchWorkItem {
  readonly delivery: TransportDelivery
  payload: unknown
  /** Its place in the batch as it came. */
  readonly index: number
  /** The handler call in which it may fail next, from 1. */
  attempt: number
  /** Number of trials of the circuit breaker that it failed. */
  trials: number
  /** True if an earlier handler call included it. */
  wasCalled: boolean
  /** Messages that may share its next handler call: half of those with which it failed as a whole. */
  together: number
}

/**
 * - `handled`: and its outputs, if any, are confirmed or in the transaction that committed
 * - `undone`: all was well, but it has to be handed over again for another's sake
 * - `error`: its own failure
 * - `error` with `apart`: the call failed as a whole, which says nothing of each of its messages: they are handed over in halves,
 *   `now` where the transaction was aborted, so that nothing has happened, else after a pause
 */
export type ItemResult = 'handled' | 'undone' | ItemFailure

export interface ItemFailure {
  readonly error: unknown
  readonly apart?: 'now' | 'later' | undefined
}

export type ItemResults = ReadonlyMap<BatchWorkItem, ItemResult>

/** The handler may have changed the payloads in its last call. */
export async function readAgain(channel: Channel<unknown, unknown>, items: readonly BatchWorkItem[]): Promise<void> {
  for (const item of items) item.payload = await freshPayload(channel, item.delivery.message, item.payload)
}

/** Identifies messages that wait for a failed one before them: those of its key, and none where failed ones leave the line. */
export function lineOf({ retry }: ResolvedConsumer): (item: Pick<BatchWorkItem, 'delivery'>) => string | null {
  return retry === 'delayed' ? () => null : ({ delivery }) => delivery.message.key
}
