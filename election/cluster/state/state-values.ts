import { isDeepStrictEqual } from 'node:util'
import { SchemaError, validate } from '../../../core/schema.ts'
import type { LogChange, LogEntry, StateRecord } from '../store/cluster-store.ts'
import { decodeFrozen, decodeJson, encodeJson } from '../store/encode-cluster-data.ts'
import type { StateEntry, StateEvent } from './state.ts'
import type { ResolvedState } from './state-options.ts'

/** A reader could not distinguish it from a deleted key. */
const NOTHING = { path: '', message: 'its schema gives undefined, which stands for no value: let it give null' }

/** Converts between values and their stored form. */
export class StateValues<Out, In> {
  readonly #options: ResolvedState<Out, In>

  constructor(options: ResolvedState<Out, In>) {
    this.#options = options
  }

  /** Stores the value as given; readers get the schema's output. @throws SchemaError, ... */
  encode(key: string, value: In): string {
    const subject = this.#subject(key)
    const json = encodeJson(subject, value, this.#options.maxValueBytes)
    this.#check(subject, value)
    return json
  }

  /** @throws SchemaError; `cluster.data_invalid` for what another program wrote */
  decode(record: StateRecord): StateEntry<Out | undefined> {
    const { key, version, json, boundTo } = record
    const value = json === undefined ? undefined : this.#check(this.#subject(key), decodeJson(this.#subject(key), json))
    return { key, version, value, ...(boundTo === undefined ? {} : { boundTo }) }
  }

  /** Tells whether a value is that of the record. False when it is the same object, but was modified. */
  isAsRead(record: StateRecord, value: unknown, before: unknown): boolean {
    return Object.is(value, before) && isDeepStrictEqual(value, this.decode(record).value)
  }

  /** For many readers: frozen, and a value that does not fit the schema has the error instead of throwing it. */
  decodeShared(record: StateRecord): StateEntry<Out | undefined> {
    const { key, version, json, boundTo } = record
    const bound = boundTo === undefined ? {} : { boundTo }
    if (json === undefined) return { key, version, value: undefined, ...bound }
    try {
      return { key, version, value: this.#check(this.#subject(key), decodeFrozen(this.#subject(key), json)), ...bound }
    } catch (error) {
      return { key, version, value: undefined, error: error as Error, ...bound }
    }
  }

  /** Converts an entry of the log to an event. */
  event(entry: LogEntry): StateEvent<Out> {
    const changes = entry.changes.flatMap((change) => this.#changed(entry.revision, change))
    return { type: 'change', version: entry.revision, changes }
  }

  #changed(version: number, change: LogChange): StateEntry<Out | undefined>[] {
    if (change.kind === 'put') return [this.decodeShared({ ...change, version })]
    return change.kind === 'delete' ? [{ key: change.key, version, value: undefined }] : []
  }

  #check(subject: string, value: unknown): Out {
    const { schema, name } = this.#options
    if (schema === undefined) return value as Out
    const checked = validate(subject, schema, value)
    if (checked === undefined) throw new SchemaError(subject, [NOTHING])
    if (!(checked instanceof Promise)) return checked
    checked.catch(() => {})
    throw new TypeError(`sharedState("${name}").schema: expected a synchronous schema, this one returns promises`)
  }

  #subject(key: string): string {
    return `"${key}" of state "${this.#options.name}"`
  }
}
