/** The messages of a batch that is at work, and what a handler call made of each. */

import type { ResolvedConsumer } from '../../bindings/resolve-options.ts'
import type { Channel } from '../../channel/channel.ts'
import { sourceOf } from '../../channel/id-namespace.ts'
import type { TransportDelivery } from '../../transport/transport.ts'
import { freshPayload } from '../fresh-payload.ts'

export interface Item {
  readonly delivery: TransportDelivery
  payload: unknown
  /** Its place in the batch as it came. */
  readonly index: number
  /** The handler call in which it may fail next, from 1. */
  attempt: number
  /** How often it was on trial in vain. */
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

export type ItemResults = ReadonlyMap<Item, ItemResult>

/** The handler may have changed the payloads in its last call. */
export async function readAgain(channel: Channel<unknown, unknown>, items: readonly Item[]): Promise<void> {
  for (const item of items) item.payload = await freshPayload(channel, item.delivery.message, item.payload)
}

export function without(items: readonly Item[], others: readonly Item[]): readonly Item[] {
  if (others.length === 0) return items
  const gone = new Set(others)
  return items.filter((item) => !gone.has(item))
}

/** Identifies messages that wait for a failed one before them: those of its key, and none where failed ones leave the line. */
export function lineOf({ retry }: ResolvedConsumer): (item: Pick<Item, 'delivery'>) => string | null {
  return retry === 'delayed' ? () => null : ({ delivery }) => delivery.message.key
}

/** Each key's items in order; those without a key each alone. */
export function byKey(items: readonly Item[], keyOf: (item: Item) => string | null): ReadonlyArray<readonly Item[]> {
  const groups: Item[][] = []
  const keys = new Map<string, Item[]>()
  for (const item of items) {
    const key = keyOf(item)
    const known = key === null ? undefined : keys.get(key)
    if (known !== undefined) known.push(item)
    else {
      const group = [item]
      groups.push(group)
      if (key !== null) keys.set(key, group)
    }
  }
  return groups
}

/** In order, each as large as all of its items allow. */
export function partsOf(items: readonly Item[]): ReadonlyArray<readonly Item[]> {
  const parts: Item[][] = []
  let most = 0
  for (const item of items) {
    const part = parts.at(-1)
    most = Math.min(most, item.together)
    if (part !== undefined && part.length < most) part.push(item)
    else {
      parts.push([item])
      most = item.together
    }
  }
  return parts
}

/** Items of the next handler call, and those of a later one. */
export interface Split {
  readonly now: readonly Item[]
  readonly later: readonly Item[]
}

/** A trial of the circuit breaker is one message: of those that are first of their key the one least tried. */
export function trialOf(items: readonly Item[], keyOf: (item: Item) => string | null): Split {
  const firsts = byKey(items, keyOf).flatMap((ofKey) => ofKey.slice(0, 1))
  const now = firsts.toSorted((a, b) => a.trials - b.trials).slice(0, 1)
  return { now, later: without(items, now) }
}

/** With an inbox a repeated message goes into a later transaction than its first, which then says whether it was handled. */
export function withoutRepeats(items: readonly Item[]): Split {
  const seen = new Set<string>()
  const later: Item[] = []
  for (const item of items) {
    const { message } = item.delivery
    const name = JSON.stringify([sourceOf(message), message.id])
    if (seen.has(name)) later.push(item)
    seen.add(name)
  }
  return { now: without(items, later), later }
}

/** Rolled back for others, and behind none that failed. */
export function undoneAlone(
  items: readonly Item[],
  results: ItemResults,
  keyOf: (item: Item) => string | null,
): readonly Item[] {
  const failedKeys = new Set<string>()
  return items.filter((item) => {
    const key = keyOf(item)
    const result = results.get(item)
    if (typeof result === 'object' && key !== null) failedKeys.add(key)
    return result === 'undone' && !(key !== null && failedKeys.has(key))
  })
}
