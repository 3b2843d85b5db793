/** The live state: one stream while the page is visible, and recent values for the charts. */

import type { BindingLine } from '@concordat/cli'
import { useEffect, useReducer } from 'preact/hooks'
import type { Snapshot } from '../snapshot.ts'
import { sessionHeaders } from './api.ts'
import { eventsIn } from './parse-server-events.ts'

/** A value over time. */
export interface Moving {
  readonly at: number
  readonly value: number
}

export type LiveState = 'connecting' | 'live' | 'away'

const KEPT = 90
const AGAIN_MS = 2_000
/** The console sends a comment every 15 s: without two of them it hangs or is disconnected. */
const SILENT_MS = 35_000

export class Live {
  snapshot: Snapshot = {}
  state: LiveState = 'connecting'
  readonly #listeners = new Set<() => void>()
  readonly #history = new Map<string, Moving[]>()
  #stream: AbortController | undefined

  start(): void {
    document.addEventListener('visibilitychange', () => this.#follow())
    // Adds a value even without a change, so that the chart shows a constant line.
    setInterval(() => this.#keep(), 1_000)
    this.#follow()
  }

  listen(listener: () => void): () => void {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }

  history(name: string): readonly Moving[] {
    return this.#history.get(name) ?? []
  }

  /** Per second, over the last 10 s; `undefined` until there are two values. */
  rate(name: string): number | undefined {
    const all = this.history(name)
    const last = all.at(-1)
    const first = all.at(-11) ?? all[0]
    if (last === undefined || first === undefined || last.at - first.at < 900) return undefined
    return ((last.value - first.value) * 1_000) / (last.at - first.at)
  }

  /** The rate of a counter in each second. */
  rates(name: string): readonly Moving[] {
    const all = this.history(name)
    return all.slice(1).map(({ at, value }, n) => {
      const before = all[n] ?? { at, value }
      return { at, value: Math.max(0, ((value - before.value) * 1_000) / Math.max(1, at - before.at)) }
    })
  }

  /** A hidden page closes its stream: browsers allow six connections to a server, over all tabs. */
  #follow(): void {
    if (document.hidden) {
      this.#stream?.abort()
      this.#stream = undefined
      return
    }
    if (this.#stream !== undefined) return
    const stream = new AbortController()
    this.#stream = stream
    void this.#read(stream).finally(() => {
      if (this.#stream !== stream) return
      this.#become('away')
      setTimeout(() => {
        if (this.#stream === stream) this.#stream = undefined
        this.#follow()
      }, AGAIN_MS)
    })
  }

  /** Not an `EventSource`, which cannot send the key of the session. Ends with the stream. */
  async #read(stream: AbortController): Promise<void> {
    let silence: ReturnType<typeof setTimeout> | undefined
    const heard = (): void => {
      clearTimeout(silence)
      silence = setTimeout(() => stream.abort(), SILENT_MS)
    }
    heard()
    try {
      const response = await fetch('./api/events', { headers: sessionHeaders(), signal: stream.signal })
      if (!response.ok || response.body === null) return
      this.#become('live')
      for await (const { event, data } of eventsIn(response.body, heard)) {
        if (event === 'snapshot' || event === 'patch') this.#take(data, event === 'snapshot')
      }
    } catch {
      // The console is unreachable or silent, or the page is hidden.
    } finally {
      clearTimeout(silence)
    }
  }

  #take(data: string, whole: boolean): void {
    const change = JSON.parse(data) as Snapshot
    this.snapshot = whole ? change : { ...this.snapshot, ...change }
    this.#tell()
  }

  #become(state: LiveState): void {
    if (this.state === state) return
    this.state = state
    this.#tell()
  }

  #keep(): void {
    if (document.hidden || this.state !== 'live') return
    const { groups, bindings, instances, outbox, sagas } = this.snapshot
    for (const line of groups?.data ?? []) this.#push(`lag ${keyOf(line)}`, line.lag)
    for (const { name, handled, deadLettered, retried } of bindings?.data ?? []) {
      this.#push(`handled ${name}`, handled)
      this.#push(`failed ${name}`, deadLettered + retried)
    }
    const inLog = new Set((groups?.data ?? []).map(keyOf))
    for (const line of instances?.data?.bindings ?? []) {
      const key = keyOfLine(line)
      this.#push(`rate ${key}`, line.handledPerSecond)
      if (line.lag !== undefined && !inLog.has(key)) this.#push(`lag ${key}`, line.lag)
    }
    if (outbox?.data !== undefined) this.#push('outbox', outbox.data.pending)
    if (sagas?.data !== undefined) this.#push('sagas', sagas.data.running + sagas.data.compensating)
    this.#tell()
  }

  #push(name: string, value: number): void {
    const all = this.#history.get(name) ?? []
    all.push({ at: Date.now(), value })
    if (all.length > KEPT) all.shift()
    this.#history.set(name, all)
  }

  #tell(): void {
    for (const listener of this.#listeners) listener()
  }
}

export const live = new Live()

/** Renders again at each change of the state. */
export function useLive(): Live {
  const [, again] = useReducer((n: number) => n + 1, 0)
  useEffect(() => live.listen(() => again(undefined as never)), [])
  return live
}

/** Dead letters of all known groups. */
export interface LettersSeen {
  /** `undefined` while the groups outside the database's log are not counted and no letter is known. */
  readonly count: number | undefined
  /** Groups whose letters could not be counted. */
  readonly uncounted: number
  /** True: a group has more, where counting stopped. */
  readonly isCut: boolean
  /** True: the log has more groups than are read, or the shown state is old. */
  readonly isPartial: boolean
}

/** Explains why the shown groups are incomplete or old; `undefined` when they are current, or none are shown. */
export function partialGroups({ groups }: Pick<Snapshot, 'groups'>): NonNullable<Snapshot['groups']>['problem'] {
  return groups?.data === undefined ? undefined : groups.problem
}

/** For groups of the log in the database, dead letters are the lag of another group. */
export function lettersIn({ groups, letters }: Snapshot): LettersSeen {
  const inLog = groups?.data ?? []
  // Groups with the same combined name of channel and group share their letters.
  const shared = new Map((letters?.data ?? []).map((line) => [`${line.channel}.${line.group}`, line]))
  const others = [...shared.values()]
  const counts = others.flatMap(({ count }) => count ?? [])
  const inLogs = inLog.filter(({ group }) => group === 'redrive').map(({ lag }) => lag)
  const known = [...inLogs, ...counts].reduce((sum, each) => sum + each, 0)
  const isCounted = letters?.data !== undefined && (inLog.length > 0 || counts.length > 0)
  return {
    count: isCounted || known > 0 ? known : undefined,
    uncounted: others.length - counts.length,
    isCut: inLog.some(({ group, isCut }) => group === 'redrive' && isCut),
    isPartial: partialGroups({ groups }) !== undefined,
  }
}

/**
 * Dead letters of one group: those in the log of the database, plus those on a broker that has a group with the same name.
 * @returns no count when one of them is not known
 */
export function lettersOf(
  { groups, letters }: Snapshot,
  { channel, group }: { readonly channel: string; readonly group: string | null },
): Pick<LettersSeen, 'count' | 'isCut'> {
  const isIts = (line: { readonly channel: string; readonly group: string }): boolean =>
    line.channel === channel && line.group === group
  const log = groups?.data ?? []
  const inLog = log.find((line) => line.channel === `${channel}.${group}.dlq` && line.group === 'redrive')
  // A log that was read completely and has no group of letters has no letters.
  const others = log.some(isIts) && partialGroups({ groups }) === undefined ? 0 : undefined
  const onBroker = letters?.data?.find(isIts)
  const counts = [inLog?.lag ?? others, onBroker?.count].filter((count) => count !== undefined)
  const isKnown = counts.length > 0 && !counts.includes(null)
  const count = isKnown ? counts.reduce<number>((sum, each) => sum + (each ?? 0), 0) : undefined
  return { count, isCut: inLog?.isCut === true }
}

/** Separates channel and group in a key: `:` occurs in no name of a channel or a group. */
export function keyOf({ channel, group }: { readonly channel: string; readonly group: string }): string {
  return `${channel}:${group}`
}

/** Key of the history of a binding of all instances: that of its group in the log, if it has one. */
export function keyOfLine({ service, name, channel, group }: BindingLine): string {
  return group === null ? `${service} ${name}` : keyOf({ channel, group })
}
