import { MINUTE, SECOND } from '../../core/clock.ts'
import { invalidOption, requireInteger } from '../../core/errors.ts'
import { requireBoolean } from '../../core/option-checks.ts'
import type { Resolved } from '../../core/resolved-options.ts'
import { checkProvisionMode } from '../transport/provision-mode.ts'
import { resolveGroupIds, resolveStartAt, type StartsAt } from './group/group-id-and-start-at.ts'
import type { KafkaCommonOptions } from './options.ts'

/** Settings as users give them. */
type GivenSettings = Omit<KafkaCommonOptions, 'compression'>

/** Options of the adapter that are the same for every driver, checked. */
export type KafkaSettings = Resolved<Omit<GivenSettings, 'groupIds' | 'startAt'>> & {
  readonly groupIds: ReadonlyMap<string, string>
  readonly startAt: StartsAt
}

const DEFAULTS = {
  replicationFactor: -1,
  maxMessageBytes: 1_000_000,
  maxBatchBytes: 64 * 1024 * 1024,
  connectTimeoutMs: 5 * SECOND,
  requestTimeoutMs: 15 * SECOND,
  sessionTimeoutMs: 10 * SECOND,
  heartbeatIntervalMs: 1 * SECOND,
  rebalanceTimeoutMs: 30 * SECOND,
  maxWaitMs: 250,
  commitIntervalMs: 200,
  delayDiscoveryMs: 10 * SECOND,
} as const

const MAX_BYTES = 1_000_000_000

/** Applies the defaults and checks everything. Pure. @throws TypeError / RangeError naming the option under `path` */
export function resolveKafkaSettings(path: string, given: GivenSettings): KafkaSettings {
  const number = (name: keyof typeof DEFAULTS, min: number, max: number): number =>
    requireInteger(`${path}.${name}`, given[name] ?? DEFAULTS[name], min, max)
  const resolved: KafkaSettings = {
    provision: checkProvisionMode(`${path}.provision`, given.provision ?? 'create'),
    replicationFactor: checkReplication(path, number('replicationFactor', -1, 1_000)),
    topicConfig: checkTopicConfig(path, given.topicConfig ?? {}),
    maxMessageBytes: number('maxMessageBytes', 1_024, MAX_BYTES),
    maxBatchBytes: number('maxBatchBytes', 1_024, MAX_BYTES),
    groupIds: resolveGroupIds(path, given.groupIds ?? {}),
    startAt: resolveStartAt(path, given.startAt ?? {}),
    springHeaderTypes: requireBoolean(`${path}.springHeaderTypes`, given.springHeaderTypes ?? false),
    connectTimeoutMs: number('connectTimeoutMs', 100, 10 * MINUTE),
    requestTimeoutMs: number('requestTimeoutMs', 100, 10 * MINUTE),
    sessionTimeoutMs: number('sessionTimeoutMs', 500, 30 * MINUTE),
    heartbeatIntervalMs: number('heartbeatIntervalMs', 50, 10 * MINUTE),
    rebalanceTimeoutMs: number('rebalanceTimeoutMs', 500, 30 * MINUTE),
    maxWaitMs: number('maxWaitMs', 10, 1 * MINUTE),
    commitIntervalMs: number('commitIntervalMs', 1, 1 * MINUTE),
    delayDiscoveryMs: number('delayDiscoveryMs', 100, 60 * MINUTE),
  }
  if (resolved.heartbeatIntervalMs * 3 > resolved.sessionTimeoutMs)
    throw invalidOption(
      `${path}.heartbeatIntervalMs`,
      resolved.heartbeatIntervalMs,
      `at most a third of sessionTimeoutMs (${resolved.sessionTimeoutMs})`,
    )
  return resolved
}

function checkReplication(path: string, value: number): number {
  if (value !== 0) return value
  throw invalidOption(`${path}.replicationFactor`, value, '-1 (the default of the broker) or a number >= 1')
}

function checkTopicConfig(path: string, config: Readonly<Record<string, unknown>>): Readonly<Record<string, string>> {
  for (const [name, value] of Object.entries(config)) {
    if (typeof value !== 'string') throw invalidOption(`${path}.topicConfig.${name}`, value, 'a string')
  }
  return Object.freeze({ ...(config as Readonly<Record<string, string>>) })
}
