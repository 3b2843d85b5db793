/** Options of a coordinator, merged with the defaults and checked. */

import { checkName } from '../../binder/channel/channel.ts'
import type { EncodedMessage } from '../../binder/channel/message.ts'
import { type AmbientHeaders, checkAmbient } from '../../binder/sending/ambient-headers.ts'
import { SECOND } from '../../core/clock.ts'
import { invalidOption, requireInteger } from '../../core/errors.ts'
import { newId } from '../../core/ids.ts'
import {
  hasMethods,
  optionNames,
  refuseUnknown,
  requireBoolean,
  requireFunction,
  wrongKind,
} from '../../core/option-checks.ts'
import type { Resolved } from '../../core/resolved-options.ts'
import { RUNTIME_NAMES, type RuntimeOptions, resolveRuntime } from '../../core/runtime-options.ts'
import { MAX_AGE_MS, type SqlTransaction } from '../../core/sql.ts'
import { resolveSql, SQL_NAMES, type SqlOptions } from '../../core/sql-options.ts'
import { checkTelemetry, type Telemetry } from '../../core/telemetry-interface.ts'
import type { TransactionOutbox } from '../../outbox/transaction-with-send.ts'
import { checkSaga } from '../definition/definition-rules.ts'
import type { Saga } from '../definition/saga-definition-types.ts'
import { withSubSagas } from '../definition/saga-destinations.ts'
import type { Operation } from '../machine/operation.ts'
import type { SagaFailure } from '../machine/state.ts'
import type { Archive } from './archive-types.ts'
import { requireTimelineText } from './operator-checks.ts'

/** Concurrency of a channel with replies or signals in this process. */
export const REPLY_CONCURRENCY = 16

/** Options of `createCoordinator`. Sagas, outbox and the effects of transactional steps share its database. */
export interface CoordinatorOptions extends SqlOptions, RuntimeOptions {
  /** Name of the service. Replies arrive on the channel `<service>.saga-replies`. */
  readonly service: string
  /**
   * Outbox for commands, written in the transaction of the state change, and for messages that steps send in their transactions.
   * Create it with `createOutbox` on the same `sql`. Without `add`, steps cannot send.
   */
  readonly outbox: Partial<TransactionOutbox> & {
    addEncoded(tx: SqlTransaction, messages: readonly EncodedMessage[]): Promise<void>
  }
  /** All definitions whose sagas this process drives. Several versions of one name are allowed. */
  readonly sagas: readonly Saga<unknown, unknown, object>[]
  /** Name of this process in the `owner` column and in logs, unique per process. @default a new id */
  readonly instance?: string | undefined
  /** How long a dead process keeps the sagas whose local steps it ran. @default 10 seconds */
  readonly leaseMs?: number | undefined
  /** Interval at which the coordinator looks for due sagas of other instances. @default 1 second */
  readonly pollMs?: number | undefined
  /** Maximum number of chains of local steps that run at once in this process. @default 64 */
  readonly concurrency?: number | undefined
  /**
   * Maximum number of transactional steps that run at once, part of `concurrency`. Each holds a connection of the pool until it
   * ends. Leave at least four connections for renewals, replies and starts. If the pool reports its size, the limit is at most
   * that size less 2.
   * @default 8
   */
  readonly transactions?: number | undefined
  /**
   * True: calls of a transactional step that are ready together share a transaction and its commit, each between savepoints. The
   * coordinator may then call a step twice without a failure of that step, as after a crash; the effects of the first call
   * through `tx` are rolled back. False: each call has its own transaction. @default true
   */
  readonly sharesTransactions?: boolean | undefined
  /** How long `close` waits for running local steps. @default 10 seconds */
  readonly drainTimeoutMs?: number | undefined
  /** Maximum size of an input, result, reply or signal, in bytes of JSON. @default 1 MiB */
  readonly maxPayloadBytes?: number | undefined
  /** How long ended sagas are kept. After that they are deleted, and their ids can be started again. @default forever */
  readonly retentionMs?: number | undefined
  /** Receives ended sagas before they are deleted. @default none */
  readonly archive?: Archive | undefined
  /**
   * Time limit of one call of `archive`, and of each of its statements. After it the call has failed, and its transaction is
   * rolled back. @default 30 seconds
   */
  readonly archiveTimeoutMs?: number | undefined
  /**
   * Called when a saga needs an operator: at least once, after the commit, by the instance that parked the saga. If that instance
   * dies or does not answer, another one calls it after the lease. Must not throw.
   */
  readonly onStuck?: ((stuck: StuckSaga) => void) | undefined
  /**
   * Called when a command has no reply in time. The coordinator sends the command again, so nothing is lost. The instance that
   * sends it calls this after the commit; it must not throw. `health().late` counts the commands that are late now.
   */
  readonly onLate?: ((late: LateCommand) => void) | undefined
  /**
   * Records one trace per saga, from its start to its last compensation, and metrics. Create it with `openTelemetry()` from
   * `concordat/core/opentelemetry`. @default none
   */
  readonly telemetry?: Telemetry | undefined
  /**
   * Headers for every command, same as the option of `createBinder`. Called for each command, in the context of its saga
   * (`currentSaga()`), by the process that sends it. Return the same headers each time for one saga: other processes may send a
   * repetition or the compensation later. `saga-*` headers override these. For replies use the `headers` of the participant's
   * outbox. @default none
   */
  readonly headers?: AmbientHeaders | undefined
}

/** A saga that waits for an operator, and the reason. */
export interface StuckSaga {
  readonly saga: string
  readonly id: string
  readonly failure: SagaFailure
}

/** A command without a reply in time, which is sent again. */
export interface LateCommand {
  readonly saga: string
  readonly id: string
  readonly step: string
  readonly operation: Operation
  /** The command channel of the participant. */
  readonly to: string
  /** How many times the command was sent. */
  readonly attempts: number
}

export type ResolvedOptions = Resolved<CoordinatorOptions, 'telemetry' | 'headers'> & {
  /** Name of the shard with this database; absent without shards. */
  readonly shard?: string
}

const COORDINATOR_DEFAULTS = Object.freeze({
  leaseMs: 10 * SECOND,
  pollMs: 1 * SECOND,
  concurrency: 64,
  transactions: 8,
  drainTimeoutMs: 10 * SECOND,
  maxPayloadBytes: 1_024 * 1_024,
  archiveTimeoutMs: 30 * SECOND,
})

export const COORDINATOR_OPTIONS: ReadonlySet<string> = optionNames<CoordinatorOptions>({
  service: true,
  ...SQL_NAMES,
  outbox: true,
  sagas: true,
  instance: true,
  leaseMs: true,
  pollMs: true,
  concurrency: true,
  transactions: true,
  sharesTransactions: true,
  drainTimeoutMs: true,
  maxPayloadBytes: true,
  retentionMs: true,
  archive: true,
  archiveTimeoutMs: true,
  onStuck: true,
  onLate: true,
  telemetry: true,
  headers: true,
  ...RUNTIME_NAMES,
})

const MAX_MS = 2 ** 31 - 1
/** Limit of jsonb is 256 MiB. */
const MAX_PAYLOAD_BYTES = 64 * 1_024 * 1_024

/** @throws TypeError / RangeError naming the option */
export function resolveCoordinatorOptions(options: CoordinatorOptions, path = 'createCoordinator'): ResolvedOptions {
  refuseUnknown(path, options, COORDINATOR_OPTIONS)
  const { service, outbox, sagas } = options
  checkName(`${path}.service`, service, 100)
  const { sql, schema } = resolveSql(path, options)
  if (!hasMethods(outbox, ['addEncoded'])) throw wrongKind(`${path}.outbox`, outbox, 'what createOutbox returns')
  if (!Array.isArray(sagas) || sagas.length === 0) throw invalidOption(`${path}.sagas`, sagas, 'at least one saga')
  for (const [index, saga] of sagas.entries()) checkSaga(`${path}.sagas[${index}]`, saga)
  checkVersions(path, sagas)
  checkVersions(path, withSubSagas(sagas as readonly Saga[]))
  const integer = (name: keyof typeof COORDINATOR_DEFAULTS, min: number, max: number): number =>
    requireInteger(`${path}.${name}`, options[name] ?? COORDINATOR_DEFAULTS[name], min, max)
  return Object.freeze({
    service,
    sql,
    outbox,
    sagas: withSubSagas(sagas as readonly Saga[]),
    schema,
    instance: requireTimelineText(`${path}.instance`, options.instance ?? newId()),
    leaseMs: integer('leaseMs', 100, MAX_MS),
    pollMs: integer('pollMs', 1, MAX_MS),
    concurrency: integer('concurrency', 1, 100_000),
    transactions: Math.min(integer('transactions', 1, 10_000), Math.max(1, (sql.connections ?? 10_002) - 2)),
    sharesTransactions: requireBoolean(`${path}.sharesTransactions`, options.sharesTransactions ?? true),
    drainTimeoutMs: integer('drainTimeoutMs', 0, MAX_MS),
    maxPayloadBytes: integer('maxPayloadBytes', 1_024, MAX_PAYLOAD_BYTES),
    retentionMs:
      options.retentionMs === undefined
        ? Number.POSITIVE_INFINITY
        : requireInteger(`${path}.retentionMs`, options.retentionMs, 1, MAX_AGE_MS),
    archiveTimeoutMs: integer('archiveTimeoutMs', 1, MAX_MS),
    archive: requireFunction(`${path}.archive`, options.archive ?? (() => {})),
    onStuck: requireFunction(`${path}.onStuck`, options.onStuck ?? (() => {})),
    onLate: requireFunction(`${path}.onLate`, options.onLate ?? (() => {})),
    telemetry: checkTelemetry(`${path}.telemetry`, options.telemetry),
    headers: checkAmbient(`${path}.headers`, options.headers),
    ...resolveRuntime(path, options),
  })
}

function checkVersions(path: string, sagas: readonly Saga[]): void {
  const seen = new Set<string>()
  for (const { name, version } of sagas) {
    const key = `${name} version ${version}`
    if (seen.has(key)) throw new TypeError(`${path}.sagas: ${key} is there twice, remove one or raise its version`)
    seen.add(key)
  }
}
