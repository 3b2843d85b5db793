/** A log with transactions, as brokers keep it, and what readers must not see of it. */
import fc from 'fast-check'

/** A record of the log of one partition, with what became of its transaction. */
export interface Logged {
  readonly offset: number
  readonly producer: number
  readonly kind: 'plain' | 'record' | 'abort' | 'commit'
  isAborted: boolean
}

export interface Ended {
  readonly producer: number
  readonly first: number
  readonly last: number
}

/** Steps of producers in turn: `record` opens a transaction where none is open, the end steps end one. */
export const steps = fc.array(
  fc.record({
    producer: fc.integer({ min: 0, max: 3 }),
    kind: fc.constantFrom('plain', 'record', 'record', 'record', 'abort', 'commit'),
    lost: fc.integer({ min: 0, max: 9 }),
  }),
  { minLength: 1, maxLength: 60 },
)

/**
 * Log as a broker has it below its last stable offset, with aborted transactions in the order of their ends. Compaction
 * removes single records and leaves gaps in the offsets.
 */
export function logOf(all: ReadonlyArray<{ producer: number; kind: Logged['kind']; lost: number }>) {
  const log: Logged[] = []
  const aborted: Ended[] = []
  const open = new Map<number, Logged[]>()
  for (const [offset, { producer, kind, lost }] of all.entries()) {
    const entry: Logged = { offset, producer, kind, isAborted: false }
    const transaction = open.get(producer)
    if ((kind === 'abort' || kind === 'commit') && transaction === undefined) continue
    if (kind === 'record') open.set(producer, [...(transaction ?? []), entry])
    if (kind === 'abort' || kind === 'commit') open.delete(producer)
    if (kind === 'abort') {
      for (const each of transaction ?? []) each.isAborted = true
      aborted.push({ producer, first: transaction?.[0]?.offset ?? offset, last: offset })
    }
    if (kind === 'record' && lost === 0) continue
    log.push(entry)
  }
  const stable = Math.min(...[...open.values()].map(([first]) => first?.offset ?? Infinity), Infinity)
  return { log: log.filter(({ offset }) => offset < stable), aborted }
}
