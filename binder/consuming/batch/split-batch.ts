/** Selects the messages of a batch for the next handler call. Pure. */

import { sourceOf } from '../../channel/id-namespace.ts'
import type { BatchWorkItem, ItemResults } from './batch-work-items.ts'

export function without(items: readonly BatchWorkItem[], others: readonly BatchWorkItem[]): readonly BatchWorkItem[] {
  if (others.length === 0) return items
  const gone = new Set(others)
  return items.filter((item) => !gone.has(item))
}

/** Each key's items in order; those without a key each alone. */
export function byKey(
  items: readonly BatchWorkItem[],
  keyOf: (item: BatchWorkItem) => string | null,
): ReadonlyArray<readonly BatchWorkItem[]> {
  const groups: BatchWorkItem[][] = []
  const keys = new Map<string, BatchWorkItem[]>()
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

/** Returns parts in order, each as large as all of its items allow. */
export function partsOf(items: readonly BatchWorkItem[]): ReadonlyArray<readonly BatchWorkItem[]> {
  const parts: BatchWorkItem[][] = []
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

/** Items of the next handler call, and the remaining ones. */
export interface Split {
  readonly now: readonly BatchWorkItem[]
  readonly later: readonly BatchWorkItem[]
}

/**
 * Returns the message for a trial of the circuit breaker: among those that are first of their key, the one with the fewest
 * trials.
 */
export function trialOf(items: readonly BatchWorkItem[], keyOf: (item: BatchWorkItem) => string | null): Split {
  const firsts = byKey(items, keyOf).flatMap((ofKey) => ofKey.slice(0, 1))
  const now = firsts.toSorted((a, b) => a.trials - b.trials).slice(0, 1)
  return { now, later: without(items, now) }
}

/**
 * With an inbox a repeated message goes into a later transaction than its first copy, which then shows whether it was handled.
 */
export function withoutRepeats(items: readonly BatchWorkItem[]): Split {
  const seen = new Set<string>()
  const later: BatchWorkItem[] = []
  for (const item of items) {
    const { message } = item.delivery
    const name = JSON.stringify([sourceOf(message), message.id])
    if (seen.has(name)) later.push(item)
    seen.add(name)
  }
  return { now: without(items, later), later }
}

/** Returns items that were rolled back because of others, and are behind no failed one. */
export function undoneAlone(
  items: readonly BatchWorkItem[],
  results: ItemResults,
  keyOf: (item: BatchWorkItem) => string | null,
): readonly BatchWorkItem[] {
  const failedKeys = new Set<string>()
  return items.filter((item) => {
    const key = keyOf(item)
    const result = results.get(item)
    if (typeof result === 'object' && key !== null) failedKeys.add(key)
    return result === 'undone' && !(key !== null && failedKeys.has(key))
  })
}
