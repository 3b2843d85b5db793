/** The messages of a running batch, and the results of a handler call for each. */

import type { ResolvedConsumer } from '../../bindings/resolve-options.ts'
import type { Channel } from '../../channel/channel.ts'
import type { TransportDelivery } from '../../transport/transport.ts'
import { freshPayload } from '../fresh-payload.ts'

export interface BatchWorkItem {
  readonly delivery: TransportDelivery
  payload: unknown
  /** Position in the batch as delivered. */
  readonly index: number
  /** Number of the handler call in which it may fail next, from 1. */
  attempt: number
  /** Number of failed trials of the circuit breaker with it. */
  trials: number
  /** True if an earlier handler call included it. */
  wasCalled: boolean
  /** Maximum number of messages in its next handler call: half of those with which it failed as a whole. */
  together: number
}

/**
 * Result for one message:
 * - `handled`: its outputs, if any, are confirmed or in the committed transaction
 * - `undone`: it succeeded, but has to be passed again because of another message
 * - `error`: its own failure
 * - `error` with `apart`: the call failed as a whole, which says nothing about single messages: they are passed again in halves,
 *   `now` if the transaction was aborted, so nothing has happened, else after a pause
 */
export type ItemResult = 'handled' | 'undone' | ItemFailure

export interface ItemFailure {
  readonly error: unknown
  readonly apart?: 'now' | 'later' | undefined
}

export type ItemResults = ReadonlyMap<BatchWorkItem, ItemResult>

/** The handler may have modified the payloads in its last call. */
export async function readAgain(channel: Channel<unknown, unknown>, items: readonly BatchWorkItem[]): Promise<void> {
  for (const item of items) item.payload = await freshPayload(channel, item.delivery.message, item.payload)
}

/** Identifies messages that wait for an earlier failed one: those with its key, or none if failed messages leave the line. */
export function lineOf({ retry }: ResolvedConsumer): (item: Pick<BatchWorkItem, 'delivery'>) => string | null {
  return retry === 'delayed' ? () => null : ({ delivery }) => delivery.message.key
}
