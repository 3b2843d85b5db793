import { type Clock, HOUR, SECOND } from '../../../core/clock.ts'
import { invalidOption, requireInteger, requireText } from '../../../core/errors.ts'
import type { Logger } from '../../../core/logger.ts'
import { hasMethods, optionNames, refuseUnknown, wrongKind } from '../../../core/option-checks.ts'
import { RUNTIME_NAMES, type RuntimeOptions, resolveRuntime } from '../../../core/runtime-options.ts'
import { A_SCHEMA, type StandardSchemaV1 } from '../../../core/schema.ts'
import { checkTelemetry, type Telemetry } from '../../../core/telemetry-interface.ts'
import type { ClusterStore } from '../store/cluster-store.ts'
import type { CallOptions, PutOptions, UpdateOptions, WatchOptions, WriteOptions } from './state.ts'

/** Options of `createSharedState`. */
export interface SharedStateOptions<Out, In = Out> extends RuntimeOptions {
  /** `redisStateStore({ url })` or `memoryStateStore()`. The caller closes it, after the state. */
  readonly store: ClusterStore
  /** Name of the state, shared by all with the same name, cluster and store. */
  readonly name: string
  /** Cluster of the state, so that entries can be bound to its members. @default none */
  readonly cluster?: string | undefined
  /** Any synchronous Standard Schema, which checks written and read values. @default any JSON value */
  readonly schema?: StandardSchemaV1<In, Out> | undefined
  /** Limit of a value as JSON. @default 64 KiB */
  readonly maxValueBytes?: number | undefined
  /** Number of changes that the log keeps, and so how far behind a watch can resume without a snapshot. @default 1 000 */
  readonly keepChanges?: number | undefined
  /** How long the version of a deleted key is kept; after that it reads as 0. @default 1 hour */
  readonly keepDeletedMs?: number | undefined
  /** How long a write is repeated while the store is unavailable or its outcome is unknown. @default 2 seconds */
  readonly retryForMs?: number | undefined
  /** Number of events kept for a busy watcher; with more it gets a snapshot instead. @default 1 000 */
  readonly maxPending?: number | undefined
  /** Measures writes. From `openTelemetry()` of `concordat/core/opentelemetry`. @default none */
  readonly telemetry?: Telemetry | undefined
}

export interface ResolvedState<Out, In> {
  readonly store: ClusterStore
  readonly name: string
  readonly cluster: string
  /** False: nothing can be bound to members. */
  readonly hasMembers: boolean
  readonly schema: StandardSchemaV1<In, Out> | undefined
  readonly maxValueBytes: number
  readonly keepChanges: number
  readonly keepDeletedMs: number
  readonly retryForMs: number
  readonly maxPending: number
  readonly logger: Logger
  readonly telemetry: Telemetry | undefined
  readonly clock: Clock
}

const NAMES = optionNames<SharedStateOptions<unknown>>({
  store: true,
  name: true,
  cluster: true,
  schema: true,
  maxValueBytes: true,
  keepChanges: true,
  keepDeletedMs: true,
  retryForMs: true,
  maxPending: true,
  ...RUNTIME_NAMES,
  telemetry: true,
})
export const CALL_NAMES = optionNames<CallOptions>({ signal: true })
export const WRITE_NAMES = optionNames<WriteOptions>({ ifVersion: true, signal: true })
export const PUT_NAMES = optionNames<PutOptions>({ ifVersion: true, boundTo: true, signal: true })
export const UPDATE_NAMES = optionNames<UpdateOptions>({ maxAttempts: true, boundTo: true, signal: true })
const WATCH_NAMES = optionNames<WatchOptions & CallOptions>({ prefix: true, after: true, signal: true })

const MAX_VALUE_BYTES = 64 * 1_024
const KEEP_CHANGES = 1_000
const KEEP_DELETED_MS = 1 * HOUR
const RETRY_FOR_MS = 2 * SECOND
const MAX_PENDING = 1_000

/** Applies the defaults and checks. @throws TypeError / RangeError naming the option */
export function resolveSharedState<Out, In>(options: SharedStateOptions<Out, In>): ResolvedState<Out, In> {
  refuseUnknown('createSharedState', options, NAMES)
  const name = requireName('createSharedState.name', options.name)
  const path = `sharedState("${name}")`
  const { schema, cluster } = options
  if (schema !== undefined && typeof schema?.['~standard']?.validate !== 'function') {
    throw wrongKind(`${path}.schema`, schema, A_SCHEMA)
  }
  return {
    store: requireStore('createSharedState.store', options.store),
    name,
    cluster: requireName(`${path}.cluster`, cluster ?? name),
    hasMembers: cluster !== undefined,
    schema,
    maxValueBytes: requireInteger(`${path}.maxValueBytes`, options.maxValueBytes ?? MAX_VALUE_BYTES, 1),
    keepChanges: requireInteger(`${path}.keepChanges`, options.keepChanges ?? KEEP_CHANGES, 1),
    keepDeletedMs: requireInteger(`${path}.keepDeletedMs`, options.keepDeletedMs ?? KEEP_DELETED_MS, 0),
    retryForMs: requireInteger(`${path}.retryForMs`, options.retryForMs ?? RETRY_FOR_MS, 0),
    maxPending: requireInteger(`${path}.maxPending`, options.maxPending ?? MAX_PENDING, 1),
    ...resolveRuntime(path, options),
    telemetry: checkTelemetry(`${path}.telemetry`, options.telemetry),
  }
}

/** @throws TypeError / RangeError naming the option */
export function requireWatchOptions(state: string, options: WatchOptions & CallOptions): void {
  const path = `sharedState("${state}").watch`
  refuseUnknown(path, options, WATCH_NAMES)
  const { after, prefix } = options
  if (after !== undefined) requireInteger(`${path}.after`, after, 0)
  if (prefix !== undefined && typeof prefix !== 'string') throw invalidOption(`${path}.prefix`, prefix, 'a string')
}

/** @throws TypeError naming the option */
export function requireStore(path: string, store: unknown): ClusterStore {
  if (hasMethods(store, ['commit', 'join', 'follow'])) return store as unknown as ClusterStore
  throw wrongKind(path, store, 'a cluster store such as redisStateStore({ url }) or memoryStateStore()')
}

/** Names of clusters, states and instances. @throws TypeError naming the option */
export function requireName(path: string, name: unknown): string {
  const text = requireText(path, name)
  if (text.length <= 200 && text.isWellFormed()) return text
  throw new TypeError(`${path}: expected at most 200 characters of well-formed text, got ${text.length}`)
}
