import { invalidOption, requireInteger } from '../../../core/errors.ts'
import { refuseUnknown } from '../../../core/option-checks.ts'
import { unlessAborted } from '../../../core/time-limit.ts'
import { ClusterError } from '../store/cluster-errors.ts'
import { Replica } from '../store/cluster-replica.ts'
import type { CommitOperation, Generation, StateRecord } from '../store/cluster-store.ts'
import { requireKey } from '../store/encode-cluster-data.ts'
import type { Watch } from '../store/watch-event-queue.ts'
import type {
  CallOptions,
  Committed,
  PutOptions,
  SharedState,
  StateEntry,
  StateEvent,
  StateHealth,
  StateMirror,
  StateOperation,
  StateVersion,
  StateView,
  UpdateOptions,
  WatchOptions,
  WriteOptions,
} from './state.ts'
import {
  CALL_NAMES,
  PUT_NAMES,
  type ResolvedState,
  requireWatchOptions,
  resolveSharedState,
  type SharedStateOptions,
  UPDATE_NAMES,
  WRITE_NAMES,
} from './state-options.ts'
import { StateValues } from './state-values.ts'
import { type StateReplica, StateWatches } from './state-watch.ts'
import { keyOf, StateWriter, type Written } from './state-writer.ts'

/** Creates a map shared by all with the same store, cluster and name. Connects when it is first used. */
export function createSharedState<Out = unknown, In = Out>(options: SharedStateOptions<Out, In>): SharedState<Out, In> {
  return new StateMap(resolveSharedState(options))
}

const MAX_ATTEMPTS = 100

class StateMap<Out, In> implements SharedState<Out, In> {
  readonly #options: ResolvedState<Out, In>
  readonly #values: StateValues<Out, In>
  readonly #replica: StateReplica<Out>
  readonly #watches: StateWatches<Out, In>
  readonly #writer: StateWriter<Out, In>
  readonly #closing = new AbortController()
  /** The highest revision in any answer: a later request is logged above it. */
  #known = 0

  constructor(options: ResolvedState<Out, In>) {
    const values = new StateValues(options)
    this.#options = options
    this.#values = values
    this.#replica = replicaOf(options, values)
    this.#watches = new StateWatches(options, values, this.#replica)
    this.#writer = new StateWriter(options, values, this.#closing.signal)
  }

  get name(): string {
    return this.#options.name
  }

  async get(key: string, options: CallOptions = {}): Promise<StateEntry<Out | undefined>> {
    refuseUnknown(this.#path(key), options, CALL_NAMES)
    const record = await this.#call(options.signal, () => this.#record(this.#key(key)))
    return this.#values.decode(record)
  }

  async entries(prefix = '', options: CallOptions = {}): Promise<StateView<Out>> {
    refuseUnknown(this.#path(prefix), options, CALL_NAMES)
    const { store } = this.#options
    const { revision, records } = await this.#call(options.signal, () => store.read(this.#id))
    this.#known = Math.max(this.#known, revision)
    const found = records.filter((record) => hasValue(record) && record.key.startsWith(prefix))
    const entries = found.map((record) => this.#values.decode(record) as StateEntry<Out>)
    return { version: revision, entries: entries.sort((a, b) => (a.key < b.key ? -1 : 1)) }
  }

  async put(key: string, value: In, options: PutOptions = {}): Promise<StateVersion> {
    refuseUnknown(this.#path(key), options, PUT_NAMES)
    const { signal, ...how } = options
    const { version } = await this.transact([{ put: key, value, ...how }], { signal })
    return { key, version }
  }

  async delete(key: string, options: WriteOptions = {}): Promise<Committed> {
    refuseUnknown(this.#path(key), options, WRITE_NAMES)
    return this.transact([{ delete: key, ifVersion: options.ifVersion }], { signal: options.signal })
  }

  async update(
    key: string,
    change: (value: Out | undefined) => In | undefined | Promise<In | undefined>,
    options: UpdateOptions = {},
  ): Promise<StateVersion> {
    refuseUnknown(this.#path(key), options, UPDATE_NAMES)
    const { signal } = options
    const named = this.#writer.generation(key, options)
    const maxAttempts = requireInteger(`${this.#path(key)}.maxAttempts`, options.maxAttempts ?? MAX_ATTEMPTS, 1)
    let record = await this.#call(signal, () => this.#record(this.#key(key)))
    for (let attempt = 1; ; attempt++) {
      const { value: before, version } = this.#values.decode(record)
      const value = await change(before)
      signal?.throwIfAborted()
      const boundTo = 'boundTo' in options ? named : record.boundTo
      const isSame =
        value === undefined
          ? before === undefined
          : isBoundTo(record, boundTo) && this.#values.isAsRead(record, value, before)
      if (isSame) return { key, version }
      const ifVersion = hasValue(record) ? version : 0
      const operations = this.#writer.operations([
        value === undefined ? { delete: key, ifVersion: version } : { put: key, value, ifVersion },
      ])
      const bound = value === undefined ? operations : operations.map((each) => ({ ...each, boundTo }))
      const reply = await this.#commit(bound, signal)
      if (reply.status === 'committed') return { key, version: reply.revision }
      if (attempt >= maxAttempts)
        throw new ClusterError('cluster.state_conflict', {
          state: this.name,
          key,
          expected: version,
          version: reply.record.version,
        })
      record = reply.record
      // The conflict returned the new record. If many write to one key, let some of them finish first.
      if (attempt > 2) await this.#call(signal, () => this.#pause(Math.random() * Math.min(attempt, 20)))
    }
  }

  async transact(operations: readonly StateOperation<In>[], options: CallOptions = {}): Promise<Committed> {
    refuseUnknown(`sharedState("${this.name}")`, options, CALL_NAMES)
    this.#requireOpen()
    const reply = await this.#commit(this.#writer.operations(operations), options.signal)
    if (reply.status === 'committed') return { version: reply.revision, changed: reply.changed }
    const { key, version } = reply.record
    const expected = operations.find((operation) => keyOf(operation) === key)?.ifVersion ?? 0
    throw new ClusterError('cluster.state_conflict', { state: this.name, key, expected, version })
  }

  watch(listener: (event: StateEvent<Out>) => void | Promise<void>, options: WatchOptions = {}): Watch {
    if (typeof listener !== 'function') throw invalidOption(`sharedState("${this.name}").watch`, listener, 'a function')
    requireWatchOptions(this.name, options)
    this.#requireOpen()
    return this.#watches.watch(listener, options)
  }

  events(options: WatchOptions & CallOptions = {}): AsyncIterableIterator<StateEvent<Out>> {
    requireWatchOptions(this.name, options)
    this.#requireOpen()
    const { signal } = options
    signal?.throwIfAborted()
    const feed = this.#watches.feed(options)
    feed.stopOn(signal)
    return feed
  }

  async mirror(options: CallOptions = {}): Promise<StateMirror<Out>> {
    refuseUnknown(`sharedState("${this.name}").mirror`, options, CALL_NAMES)
    this.#requireOpen()
    this.#options.store.refuseInside?.()
    await this.#replica.open(options.signal)
    return this.#watches.mirror()
  }

  health(): StateHealth {
    return this.#closing.signal.aborted ? { status: 'closed' } : this.#options.store.health()
  }

  async close(): Promise<void> {
    if (this.#closing.signal.aborted) return
    const reason = new ClusterError('cluster.closed', { part: `state "${this.name}"` })
    this.#closing.abort(reason)
    this.#watches.stop()
    this.#replica.close(reason)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }

  get #id(): { readonly cluster: string; readonly state: string } {
    return { cluster: this.#options.cluster, state: this.name }
  }

  async #record(key: string): Promise<StateRecord> {
    const { revision, records } = await this.#options.store.read(this.#id, [key])
    this.#known = Math.max(this.#known, revision)
    return records[0] ?? { key, version: 0, json: undefined }
  }

  async #commit(operations: readonly CommitOperation[], signal: AbortSignal | undefined): Promise<Written> {
    const since = Math.max(this.#known, this.#replica.revision)
    const reply = await this.#call(signal, () => this.#writer.commit(operations, since))
    if (reply.status === 'committed') this.#known = Math.max(this.#known, reply.revision)
    return reply
  }

  /** Refuses when closed, and ends with `close` or `signal`. */
  async #call<T>(signal: AbortSignal | undefined, call: () => Promise<T>): Promise<T> {
    this.#requireOpen()
    signal?.throwIfAborted()
    const done = unlessAborted(this.#closing.signal, call())
    return signal === undefined ? done : unlessAborted(signal, done)
  }

  async #pause(durationMs: number): Promise<void> {
    await this.#options.clock.sleep(durationMs, this.#closing.signal).catch(() => {})
  }

  #requireOpen(): void {
    this.#closing.signal.throwIfAborted()
  }

  #key(key: unknown): string {
    return requireKey(`state "${this.name}"`, key)
  }

  #path(key: string): string {
    return `sharedState("${this.name}").${String(key)}`
  }
}

function replicaOf<Out, In>(options: ResolvedState<Out, In>, values: StateValues<Out, In>): StateReplica<Out> {
  const { store, cluster, name, clock, logger } = options
  return new Replica<StateEntry<Out | undefined>, StateEvent<Out>>({
    store,
    log: { cluster, state: name },
    clock,
    logger,
    source: {
      read: async () => {
        const { revision, records } = await store.read({ cluster, state: name })
        const items = records.filter(hasValue).map((record) => [record.key, values.decodeShared(record)] as const)
        return { revision, items }
      },
      apply: (items, entry) => {
        const event = values.event(entry)
        if (event.type === 'change') for (const change of event.changes) keep(items, change)
        return event
      },
    },
  })
}

function isBoundTo({ boundTo: now }: StateRecord, boundTo: Generation | undefined): boolean {
  return now?.instance === boundTo?.instance && now?.generation === boundTo?.generation
}

function hasValue(record: StateRecord): boolean {
  return record.json !== undefined
}

function keep<Out>(items: Map<string, StateEntry<Out | undefined>>, change: StateEntry<Out | undefined>): void {
  const isDeletion = change.value === undefined && change.error === undefined
  if (isDeletion) items.delete(change.key)
  else items.set(change.key, change)
}
