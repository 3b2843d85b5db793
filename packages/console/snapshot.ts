/**
 * Live data of every open page: one snapshot for all of them, taken only while a page is open. Each part has its own interval and
 * its own error: an unavailable broker does not affect the others.
 */

import {
  type GroupLine,
  type InstancesView,
  type LeaderLine,
  type MemberLine,
  missingGroups,
  type SagaCounts,
} from '@concordat/cli'
import { type Logger, SECOND, silentLogger } from 'concordat/core'
import { within } from 'concordat/extension'
import type { BindingStatus, OutboxStats } from './engine-types.ts'
import { bodyOf, Problem, type ProblemBody, problemOf } from './problem.ts'
import { type Backend, clusterMembers, placesOf } from './read-routes.ts'
import type { UnderWayLine } from './running-redrives.ts'

/** A part of the snapshot. */
export interface Part<T> {
  /** Epoch ms of this process; time of the last result. */
  readonly at: number
  readonly data?: T | undefined
  /** Why there is no current result (`data` is then the last one), or what the result lacks. */
  readonly problem?: ProblemBody | undefined
}

/** A binding of this process, without its error, which is a separate request. */
export type LiveBinding = Omit<BindingStatus, 'error'>

/** The whole snapshot; a part is missing until it was read once. */
export interface Snapshot {
  readonly groups?: Part<readonly GroupLine[]> | undefined
  readonly bindings?: Part<readonly LiveBinding[]> | undefined
  /** Instances of all services, as they report over the bus. */
  readonly instances?: Part<InstancesView> | undefined
  readonly sagas?: Part<SagaCounts> | undefined
  readonly outbox?: Part<OutboxStats> | undefined
  readonly leaders?: Part<readonly LeaderLine[]> | undefined
  readonly members?:
    | Part<ReadonlyArray<{ readonly cluster: string; readonly members: readonly MemberLine[] }>>
    | undefined
  /** Redrives and drops of this console. */
  readonly underWay?: Part<readonly UnderWayLine[]> | undefined
  /** Dead letters of each group, on transports other than the database. */
  readonly letters?: Part<readonly DeadLetterCount[]> | undefined
}

/** Dead letters that are not in the log of the database. */
export interface DeadLetterCount {
  readonly channel: string
  readonly group: string
  /** `null`: not known. */
  readonly count: number | null
}

interface Source {
  readonly name: keyof Snapshot
  readonly everyMs: number
  readonly read: () => Promise<unknown>
  /** Describes what a result lacks; the result is shown anyway. */
  readonly lacks?: ((data: never) => ProblemBody | undefined) | undefined
}

const TICK_MS = 1 * SECOND
const READ_MS = 10 * SECOND
/** For counts of dead letters: groups that a slow broker has not counted by then are `null`, and the others are shown. */
const COUNT_MS = 8 * SECOND
const MAX_COUNTED_PLACES = 50
/** Parts that are not set up here, which is not an error: the page omits them. */
const NOT_HERE = new Set([
  'core.tables_missing',
  'operate.store_missing',
  'operate.transport_missing',
  'console.bus_missing',
  'console.groups_unknown',
])

export class LiveSnapshot {
  readonly #backend: Backend
  readonly #logger: Logger
  readonly #sources: readonly Source[]
  readonly #listeners = new Set<(change: Snapshot) => void>()
  readonly #due = new Map<keyof Snapshot, number>()
  readonly #said = new Map<keyof Snapshot, string>()
  #current: Snapshot = {}
  #change: Record<string, unknown> = {}
  #timer: NodeJS.Timeout | undefined

  constructor(backend: Backend, logger: Logger) {
    this.#backend = backend
    this.#logger = logger
    this.#sources = sourcesOf(backend)
  }

  get current(): Snapshot {
    return this.#current
  }

  /** @returns a function that ends it */
  listen(listener: (change: Snapshot) => void): () => void {
    this.#listeners.add(listener)
    if (this.#timer === undefined) {
      // The last snapshot is outdated.
      this.#current = {}
      this.#said.clear()
      this.#due.clear()
      this.#timer = setInterval(() => this.#tick(), TICK_MS)
      this.#timer.unref()
      this.#tick()
    }
    return () => {
      this.#listeners.delete(listener)
      if (this.#listeners.size > 0) return
      clearInterval(this.#timer)
      this.#timer = undefined
    }
  }

  #tick(): void {
    this.#flush()
    const now = this.#backend.clock.monotonic()
    for (const source of this.#sources) {
      if ((this.#due.get(source.name) ?? 0) > now) continue
      // Until it has a result.
      this.#due.set(source.name, Number.POSITIVE_INFINITY)
      void this.#look(source)
    }
  }

  async #look(source: Source): Promise<void> {
    const { name, everyMs } = source
    const { clock } = this.#backend
    const first = this.#current[name] === undefined
    const part = await this.#partOf(source)
    this.#due.set(name, clock.monotonic() + everyMs)
    this.#current = { ...this.#current, [name]: part }
    const said = JSON.stringify([part.data, part.problem])
    if (said === this.#said.get(name)) return
    this.#said.set(name, said)
    this.#change[name] = part
    if (first) this.#flush()
  }

  async #partOf({ name, read, lacks }: Source): Promise<Part<unknown>> {
    const { clock } = this.#backend
    const before = this.#current[name]
    try {
      const late = new Problem(503, 'console.timeout', 'no answer in 10 s')
      const data = await within<unknown, unknown>(clock, READ_MS, read(), late)
      if (data === late) throw late
      return { at: clock.now(), data, problem: lacks?.(data as never) }
    } catch (error) {
      // Without a listener, the operator may already be closed, and queries sent before that fail.
      const problem = bodyOf(problemOf(error, this.#timer === undefined ? silentLogger : this.#logger))
      return NOT_HERE.has(problem.code)
        ? { at: clock.now(), problem }
        : { at: before?.at ?? clock.now(), data: before?.data, problem }
    }
  }

  #flush(): void {
    const change = this.#change
    if (Object.keys(change).length === 0) return
    this.#change = {}
    for (const listener of this.#listeners) listener(change as Snapshot)
  }
}

function sourcesOf(backend: Backend): readonly Source[] {
  const { operator, bindings, clusters, instances } = backend
  return [
    { name: 'groups', everyMs: 2 * SECOND, read: () => operator.groups(), lacks: cutGroups },
    { name: 'sagas', everyMs: 5 * SECOND, read: () => operator.sagas.count() },
    { name: 'outbox', everyMs: 2 * SECOND, read: () => operator.outbox.stats() },
    { name: 'instances', everyMs: 2 * SECOND, read: () => instances.view() },
    { name: 'leaders', everyMs: 5 * SECOND, read: () => operator.leaders.list() },
    { name: 'members', everyMs: 5 * SECOND, read: () => clusterMembers(backend, clusters) },
    { name: 'underWay', everyMs: 0.5 * SECOND, read: async () => backend.underWay.lines },
    { name: 'letters', everyMs: 30 * SECOND, read: () => countLetters(backend) },
    ...(bindings === undefined
      ? []
      : [{ name: 'bindings' as const, everyMs: 1 * SECOND, read: async () => bindings().map(withoutError) }]),
  ]
}

/** The log has more groups than are read. */
function cutGroups(groups: readonly GroupLine[]): ProblemBody | undefined {
  const message = missingGroups(groups)
  return message === undefined ? undefined : { code: 'console.groups_cut', message }
}

function withoutError({ error: _error, ...status }: BindingStatus): LiveBinding {
  return status
}

/** Groups of the log in the database are already included; each other one costs a connection. */
async function countLetters(backend: Backend): Promise<readonly DeadLetterCount[]> {
  const { operator, clock } = backend
  const end = clock.monotonic() + COUNT_MS
  const groups = await operator.groups()
  const known = await placesOf(backend)
  const places = await within(clock, COUNT_MS, operator.letters.besideLog(groups, known), known)
  if (places.length === 0 && groups.length === 0)
    throw new Problem(409, 'console.groups_unknown', 'no group is known here: name a file that exports the services')
  const counts: DeadLetterCount[] = []
  for (const [n, { channel, group, partitions }] of places.entries()) {
    const leftMs = end - clock.monotonic()
    const asks = n < MAX_COUNTED_PLACES && leftMs > 0
    // A declared group may never have been created: the others are counted anyway.
    const asked = asks ? operator.letters.count({ channel, group, partitions }).catch(() => null) : null
    counts.push({ channel, group, count: (asked && (await within(clock, leftMs, asked, null))) ?? null })
  }
  return counts
}
