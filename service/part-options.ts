import type { BinderOptions } from '../binder/binder.ts'
import type { MembershipOptions } from '../election/cluster/membership/membership-options.ts'
import type { ElectionOptions } from '../election/leader/options.ts'
import type { ScheduleOptions } from '../election/schedule/schedule-types.ts'
import type { InboxOptions } from '../outbox/inbox.ts'
import type { OutboxOptions } from '../outbox/outbox.ts'
import type { RelayOptions } from '../outbox/relay-options.ts'
import type { CoordinatorOptions } from '../saga/coordinator/options.ts'

/** Options that the service sets itself. */
type Common = 'service' | 'sql' | 'schema' | 'instance' | 'logger' | 'telemetry' | 'transport'

/** Options of the watch for prepared transactions. */
export interface PreparedOptions {
  /**
   * Age from which a prepared transaction is reported, in ms: in `health()` and once in the log. It holds its rows, and hinders
   * `VACUUM`. @default 5 minutes, by which most sagas are decided
   */
  readonly olderThanMs?: number | undefined
}

/** Options of each part beyond the service's own. */
export interface PartOptions {
  /** For the binder. */
  readonly binder?: Omit<BinderOptions, Common | 'bindings' | 'sends' | 'unlisted'> | undefined
  /** For the outbox. */
  readonly outbox?: Omit<OutboxOptions, Common> | undefined
  /** For the relay. */
  readonly relay?: Omit<RelayOptions, Common | 'outbox' | 'publisher' | 'listener'> | undefined
  /** For the inbox. */
  readonly inbox?: Omit<InboxOptions, Common | 'outbox'> | undefined
  /** For the coordinator of the sagas. */
  readonly coordinator?: Omit<CoordinatorOptions, Common | 'outbox' | 'sagas'> | undefined
  /** For the watch for transactions that XA participants left prepared. */
  readonly prepared?: PreparedOptions | undefined
  /** For every role of `leads` and `schedules`. */
  readonly elections?: Omit<ElectionOptions, Common | 'locks' | 'role' | 'onGranted'> | undefined
  /** For every schedule. */
  readonly schedules?: Omit<ScheduleOptions, Common | 'election' | 'jobs' | 'lastTick' | 'onError'> | undefined
  /** For the membership in the cluster. */
  readonly membership?: Omit<MembershipOptions, Common | 'store' | 'cluster' | 'group' | 'meta'> | undefined
}

/** Beginning of an error about an option: `createRelay.batchSize`. */
const OPTION = /^create(\w+)\.([^.:[]+)/

/**
 * Replaces the path in an error about an option of `parts` by that in the options of the service. A part has the name of its
 * function, or its plural.
 */
export function atServicePath(error: unknown, parts: PartOptions): unknown {
  if (!(error instanceof TypeError || error instanceof RangeError)) return error
  const [, made = '', option = ''] = OPTION.exec(error.message) ?? []
  const names = [made.toLowerCase(), `${made.toLowerCase()}s`]
  const [part, given] = Object.entries(parts).find(([name]) => names.includes(name)) ?? []
  if (given === undefined || !Object.hasOwn(given, option)) return error
  const message = error.message.replace(/^create\w+/, () => `createService.parts.${part}`)
  const cause = { cause: error }
  return error instanceof RangeError ? new RangeError(message, cause) : new TypeError(message, cause)
}
