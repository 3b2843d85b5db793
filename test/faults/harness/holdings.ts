import type { Event } from './events.ts'

/** A holding of a lock (or a term), from its grant to its end, as its holder saw it. */
export interface Holding {
  readonly grant: string
  readonly process: string
  readonly token: number
  readonly mode: string
  /** The call that won it. */
  readonly asked: Event
  readonly granted: Event
  /** The last deadline it believed in. */
  readonly until: number
  /** End of the belief: by a release, a reported loss or the deadline. */
  readonly beliefEnds: number
  /** The call that gave it back, and its answer. */
  readonly release: Event | undefined
  readonly released: Event | undefined
  readonly lost: Event | undefined
}

/** @param names of the events that begin and end a holding */
export function holdingsOf(events: readonly Event[], names = { acquire: 'acquire', release: 'release' }): Holding[] {
  const byGrant = Map.groupBy(
    events.filter(({ grant }) => grant !== undefined),
    ({ grant }) => grant as string,
  )
  return [...byGrant.entries()].flatMap(([grant, own]) => {
    const granted = own.find(({ op, type }) => op === names.acquire && type === 'ok')
    if (granted === undefined) return []
    const asked = own.find(({ op, type }) => op === names.acquire && type === 'invoke') ?? granted
    const release = own.find(({ op, type }) => op === names.release && type === 'invoke')
    const released = own.find(({ op, type }) => op === names.release && type !== 'invoke')
    const lost = own.find(({ op }) => op === 'lost')
    const beliefs = own.filter(
      ({ op, type, state }) => (op === 'belief' && state === 'held') || (op === names.acquire && type === 'ok'),
    )
    const until = Math.max(...beliefs.map((event) => event.until ?? 0))
    const beliefEnds = Math.min(release?.at ?? Infinity, lost?.at ?? Infinity, until)
    const { process, token = 0, mode = 'exclusive' } = granted
    return [{ grant, process, token, mode, asked, granted, until, beliefEnds, release, released, lost }]
  })
}

export interface Overlap {
  readonly first: Holding
  readonly second: Holding
  readonly ms: number
}

/** Pairs that believed at the same time. */
export function overlapsOf(holdings: readonly Holding[]): Overlap[] {
  const byStart = holdings
    .filter(({ granted, beliefEnds }) => granted.at < beliefEnds)
    .toSorted((a, b) => a.granted.at - b.granted.at)
  const overlaps: Overlap[] = []
  let open: Holding[] = []
  for (const second of byStart) {
    open = open.filter((first) => first.beliefEnds > second.granted.at)
    for (const first of open) {
      const ms = Math.min(first.beliefEnds, second.beliefEnds) - second.granted.at
      overlaps.push({ first, second, ms })
    }
    open.push(second)
  }
  return overlaps
}
