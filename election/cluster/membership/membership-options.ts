import { hostname } from 'node:os'
import { type Clock, SECOND } from '../../../core/clock.ts'
import { requireInteger } from '../../../core/errors.ts'
import { newId } from '../../../core/ids.ts'
import type { Logger } from '../../../core/logger.ts'
import { optionNames, refuseUnknown, requireBoolean } from '../../../core/option-checks.ts'
import { RUNTIME_NAMES, type RuntimeOptions, resolveRuntime } from '../../../core/runtime-options.ts'
import { checkTelemetry, type Telemetry } from '../../../core/telemetry-interface.ts'
import { requireName, requireStore } from '../state/state-options.ts'
import { ClusterError } from '../store/cluster-errors.ts'
import type { ClusterStore } from '../store/cluster-store.ts'
import { encodeJson } from '../store/encode-cluster-data.ts'
import type { MemberMeta } from './membership.ts'

/** Options of `createMembership`. */
export interface MembershipOptions extends RuntimeOptions {
  /** `redisStateStore({ url })` or `memoryStateStore()`. The caller closes it, after the membership. */
  readonly store: ClusterStore
  /** Name of the cluster. */
  readonly cluster: string
  /** Service of this process, shown to other members: `payments`. */
  readonly service: string
  /** Part of the service, such as a region; the second part of an address on the bus. @default none */
  readonly group?: string | undefined
  /**
   * Name of this process; unique. A later one with the same id replaces it. The default is valid in an address of the bus.
   * @default `<host name>-<process id>-<random>`
   */
  readonly instance?: string | undefined
  /** Metadata of this member. @default {} */
  readonly meta?: MemberMeta | undefined
  /** Limit of the metadata as JSON. @default 8 KiB */
  readonly maxMetaBytes?: number | undefined
  /** Interval of heartbeats. @default 1 second */
  readonly heartbeatMs?: number | undefined
  /** Time without a heartbeat after which others suspect a member, and it considers itself isolated. @default 3 heartbeats */
  readonly suspectAfterMs?: number | undefined
  /** Time without a heartbeat after which a member is dead. @default 10 heartbeats */
  readonly deadAfterMs?: number | undefined
  /** True: joins again, as a new generation, after it was declared dead. @default true */
  readonly rejoin?: boolean | undefined
  /** Number of events kept for a busy watcher; with more it gets a `resync` instead. @default 1 000 */
  readonly maxPending?: number | undefined
  /**
   * Counts the visible members, and records isolation. From `openTelemetry()` of `concordat/core/opentelemetry`. @default none
   */
  readonly telemetry?: Telemetry | undefined
}

export interface ResolvedMembership {
  readonly store: ClusterStore
  readonly cluster: string
  readonly service: string
  readonly group: string | undefined
  readonly instance: string
  readonly meta: MemberMeta
  readonly maxMetaBytes: number
  readonly heartbeatMs: number
  readonly suspectAfterMs: number
  readonly deadAfterMs: number
  readonly rejoin: boolean
  readonly maxPending: number
  readonly logger: Logger
  readonly telemetry: Telemetry | undefined
  readonly clock: Clock
}

const NAMES = optionNames<MembershipOptions>({
  store: true,
  cluster: true,
  service: true,
  group: true,
  instance: true,
  meta: true,
  maxMetaBytes: true,
  heartbeatMs: true,
  suspectAfterMs: true,
  deadAfterMs: true,
  rejoin: true,
  maxPending: true,
  ...RUNTIME_NAMES,
  telemetry: true,
})

const HEARTBEAT_MS = 1 * SECOND
const SUSPECT_AFTER_HEARTBEATS = 3
const DEAD_AFTER_HEARTBEATS = 10
const MAX_META_BYTES = 8 * 1_024
const MAX_PENDING = 1_000

/** Applies the defaults and checks. @throws TypeError / RangeError naming the option */
export function resolveMembership(options: MembershipOptions): ResolvedMembership {
  refuseUnknown('createMembership', options, NAMES)
  const cluster = requireName('createMembership.cluster', options.cluster)
  const path = `membership("${cluster}")`
  const heartbeatMs = requireInteger(`${path}.heartbeatMs`, options.heartbeatMs ?? HEARTBEAT_MS, 10)
  const suspectAfterMs = options.suspectAfterMs ?? SUSPECT_AFTER_HEARTBEATS * heartbeatMs
  const deadAfterMs = options.deadAfterMs ?? Math.max(DEAD_AFTER_HEARTBEATS * heartbeatMs, 2 * suspectAfterMs)
  const resolved: ResolvedMembership = {
    store: requireStore('createMembership.store', options.store),
    cluster,
    service: requireName(`${path}.service`, options.service),
    group: options.group === undefined ? undefined : requireName(`${path}.group`, options.group),
    instance: requireName(`${path}.instance`, options.instance ?? `${hostname()}-${process.pid}-${newId().slice(-8)}`),
    meta: options.meta ?? {},
    maxMetaBytes: requireInteger(`${path}.maxMetaBytes`, options.maxMetaBytes ?? MAX_META_BYTES, 2),
    heartbeatMs,
    // A single lost heartbeat causes no suspicion.
    suspectAfterMs: requireInteger(`${path}.suspectAfterMs`, suspectAfterMs, 2 * heartbeatMs),
    deadAfterMs: requireInteger(`${path}.deadAfterMs`, deadAfterMs, suspectAfterMs + heartbeatMs),
    rejoin: requireBoolean(`${path}.rejoin`, options.rejoin ?? true),
    maxPending: requireInteger(`${path}.maxPending`, options.maxPending ?? MAX_PENDING, 1),
    ...resolveRuntime(path, options),
    telemetry: checkTelemetry(`${path}.telemetry`, options.telemetry),
  }
  describeMember(resolved, resolved.meta)
  return resolved
}

/** The stored record of a member, as JSON. @throws `cluster.data_invalid`, `cluster.data_too_large` */
export function describeMember(options: ResolvedMembership, meta: MemberMeta): string {
  const subject = `metadata of member "${options.instance}"`
  if (typeof meta !== 'object' || meta === null || Array.isArray(meta)) {
    throw new ClusterError('cluster.data_invalid', {
      subject,
      problem: 'expected an object: put the value under a name',
    })
  }
  const metaJson = encodeJson(subject, meta, options.maxMetaBytes)
  const { service, group } = options
  return `{"service":${JSON.stringify(service)},${group === undefined ? '' : `"group":${JSON.stringify(group)},`}"meta":${metaJson}}`
}
