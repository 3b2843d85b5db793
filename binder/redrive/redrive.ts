/**
 * Redrive: sends dead letters back to where they failed, once the cause is fixed.
 *
 * A run reads the messages in the dead letter channel at its start once, in order, up to a mark that it appends. A selected
 * message is sent back and then settled; any other is moved to the end of the dead letter channel, behind the mark, and then
 * settled. Nothing is settled before the broker has confirmed its new location, so a kill at any moment loses nothing. It may
 * leave a second copy of one message, with the same id, which the next run drops. On PostgreSQL both are one transaction, and
 * there is no copy.
 *
 * Messages are sent back in the order in which they failed, and kept ones keep their order, with two exceptions: kept messages
 * follow those that arrived during the run, and those that an interrupted run had not read. Messages sent back follow those sent
 * in the meantime.
 */
import type { Clock } from '../../core/clock.ts'
import { invalidOption, requireInteger, requireText } from '../../core/errors.ts'
import { newId } from '../../core/ids.ts'
import type { Logger } from '../../core/logger.ts'
import { optionNames, refuseUnknown, requireBoolean, requireFunction } from '../../core/option-checks.ts'
import { RUNTIME_NAMES, type RuntimeOptions, resolveRuntime } from '../../core/runtime-options.ts'
import { requireFree } from '../assembly/claim-transport.ts'
import { type Channel, checkName, requireChannel } from '../channel/channel.ts'
import { isDeadLetterName } from '../channel/dead-letter-name.ts'
import { BinderError } from '../errors.ts'
import type { Transport } from '../transport/transport.ts'
import { settlingTransactionsOf } from './atomic-move.ts'
import type { DeadLetter } from './letter.ts'

/** Caller of a redrive, and its connection. */
export interface RedriveHost extends RuntimeOptions {
  /** Name of the caller, for connections. */
  readonly service: string
  /** Transport for the redrive alone, not that of a binder: it is closed at the end. */
  readonly transport: Transport
}

/** Selection of dead letters, their destination and the rate. */
export interface RedriveOptions {
  /** Selects letters to send back; the others stay. An error that it throws ends the run. @default all */
  readonly filter?: ((letter: DeadLetter) => boolean | Promise<boolean>) | undefined
  /**
   * Maximum number of letters that are sent back, or listed. If some stay, the run continues to its end and keeps the others,
   * too, for their order. @default no limit; 1 000 for a dry run
   */
  readonly limit?: number | undefined
  /** Maximum number of letters sent back per second. @default 100 */
  readonly perSecond?: number | undefined
  /**
   * Destination:
   * - `channel`: every group of the channel, with the old id. Groups with an inbox drop messages that they have handled, as long
   *   as the inbox remembers them (7 days by default); the others handle them again. Refused (`binder.redrive_would_repeat`) for
   *   a `transactional` channel on PostgreSQL, whose groups may settle without an inbox, and for a channel of dead letters, whose
   *   group `redrive` would have the letter twice.
   * - `group`: only the group that failed, through its retry channel. A binding with `retry: 'delayed'` always reads it; any
   *   other finds it within a minute, on PostgreSQL within 5 s.
   * - `nowhere`: the letters are given up. They count as `sent`, and nothing of them remains.
   * @default 'group' on PostgreSQL and for a channel of dead letters, else 'channel'
   */
  readonly to?: 'channel' | 'group' | 'nowhere' | undefined
  /** Lists the letters that would be sent back, without changing anything. @default false */
  readonly dryRun?: boolean | undefined
  /** With `dryRun`: number of messages to read, all of which it holds, before it ends. @default 65 535, the maximum */
  readonly lookAt?: number | undefined
  /** With `dryRun`: same limit in bytes of payloads; it may hold twice as much. @default 128 MiB */
  readonly lookAtBytes?: number | undefined
  /**
   * With `dryRun`: starts after the last message with this id among the first `skip`, the number read before. If it is no longer
   * among them, it starts at the first. Skipped messages are held and count for `lookAt` and `lookAtBytes`.
   * @default at the first
   */
  readonly after?: RedriveAfter | undefined
  /** With `dryRun`: lists payloads, too. @default false: `body` is null */
  readonly payloads?: boolean | undefined
  /** Called after each letter. */
  readonly onProgress?: ((progress: RedriveCounts) => void) | undefined
  /** Ends the run early; moved letters stay moved, and the report has `complete: false`. */
  readonly signal?: AbortSignal | undefined
  /**
   * Time without letters, although there should be some, after which the run fails with `binder.redrive_stalled`. The usual cause
   * is another reader of the group `redrive`, or an unavailable broker. In ms. @default 60 seconds
   */
  readonly stallTimeoutMs?: number | undefined
}

/** End of a previous dry run. */
export interface RedriveAfter {
  readonly skip: number
  readonly id: string
}

/** Progress of a redrive. */
export interface RedriveCounts {
  /** Sent back, given up with `to: 'nowhere'`, or listed by a dry run. */
  readonly sent: number
  /** Not selected: still dead letters. */
  readonly kept: number
  /** Second copies of a letter, which were dropped. */
  readonly copies: number
}

/** Result of a redrive. */
export interface RedriveReport extends RedriveCounts {
  /**
   * True if all letters present at the start were read; false when `limit`, `lookAt`, `lookAtBytes` or `signal` ended it before.
   */
  readonly complete: boolean
  /** Messages listed by a dry run, in order; empty otherwise. */
  readonly letters: readonly DeadLetter[]
  /** Actual destination. */
  readonly to: 'channel' | 'group' | 'nowhere'
  /** With `after`: number of skipped messages. */
  readonly skipped?: number | undefined
}

/** Options of a run with all defaults applied. */
export interface ResolvedRedrive {
  readonly id: string
  readonly transport: Transport
  readonly logger: Logger
  readonly clock: Clock
  readonly channel: Channel
  readonly group: string
  readonly filter: (letter: DeadLetter) => boolean | Promise<boolean>
  readonly limit: number
  readonly perSecond: number
  readonly to: 'channel' | 'group' | 'nowhere'
  readonly dryRun: boolean
  readonly lookAt: number
  readonly lookAtBytes: number
  readonly after: RedriveAfter | undefined
  readonly payloads: boolean
  readonly onProgress: (progress: RedriveCounts) => void
  readonly signal: AbortSignal | undefined
  readonly stallTimeoutMs: number
}

const HOST_NAMES = optionNames<RedriveHost>({ ...RUNTIME_NAMES, service: true, transport: true })
const NAMES = optionNames<RedriveOptions>({
  filter: true,
  limit: true,
  perSecond: true,
  to: true,
  dryRun: true,
  lookAt: true,
  lookAtBytes: true,
  after: true,
  payloads: true,
  onProgress: true,
  signal: true,
  stallTimeoutMs: true,
})
const DRY_LIMIT = 1_000
/** RabbitMQ lends no more at a time. */
const MOST_LOOKED_AT = 65_535
const LOOKED_AT_BYTES = 128 * 1024 * 1024
const PER_SECOND = 100
const STALL_MS = 60_000

export function resolveRedrive(
  host: RedriveHost,
  channel: Channel,
  group: string,
  options: RedriveOptions,
): ResolvedRedrive {
  refuseUnknown('redrive', host, HOST_NAMES)
  refuseUnknown('redrive', options, NAMES)
  checkName('redrive.service', host.service, 100)
  if (typeof host.transport?.subscribe !== 'function') {
    throw invalidOption('redrive.transport', host.transport, 'a transport such as memoryTransport()')
  }
  const { dryRun = false, payloads = false } = options
  const to = resolveTo(host.transport, requireChannel('redrive', channel), group, options.to)
  return {
    id: newId(),
    transport: requireFree('redrive.transport', host.transport),
    ...resolveRuntime('redrive', host),
    channel,
    group: checkName('redrive.group', group, 100),
    filter: requireFunction('redrive.filter', options.filter ?? (() => true)),
    limit: requireInteger('redrive.limit', options.limit ?? (dryRun ? DRY_LIMIT : Number.MAX_SAFE_INTEGER), 1),
    perSecond: requireInteger('redrive.perSecond', options.perSecond ?? PER_SECOND, 1, 1_000_000),
    to,
    dryRun: requireBoolean('redrive.dryRun', dryRun),
    lookAt: requireInteger('redrive.lookAt', options.lookAt ?? MOST_LOOKED_AT, 1, MOST_LOOKED_AT),
    lookAtBytes: requireInteger('redrive.lookAtBytes', options.lookAtBytes ?? LOOKED_AT_BYTES, 1),
    after: requireAfter(options.after, dryRun),
    payloads: requireBoolean('redrive.payloads', payloads),
    onProgress: requireFunction('redrive.onProgress', options.onProgress ?? (() => {})),
    signal: options.signal,
    stallTimeoutMs: requireInteger('redrive.stallTimeoutMs', options.stallTimeoutMs ?? STALL_MS, 1),
  }
}

/** @throws `binder.redrive_would_repeat` */
function resolveTo(
  transport: Transport,
  { name, transactional }: Channel,
  group: string,
  given: RedriveOptions['to'],
): ResolvedRedrive['to'] {
  const settles = settlingTransactionsOf(transport.ownerOf?.(name) ?? transport) !== undefined
  const isOfLetters = isDeadLetterName(name)
  const to = given ?? (settles || isOfLetters ? 'group' : 'channel')
  if (to !== 'channel' && to !== 'group' && to !== 'nowhere')
    throw invalidOption('redrive.to', to, "'channel', 'group' or 'nowhere'")
  if (to === 'channel' && isOfLetters)
    throw new BinderError('binder.redrive_would_repeat', { channel: name, group, why: 'letters' })
  if (to === 'channel' && settles && transactional === true)
    throw new BinderError('binder.redrive_would_repeat', { channel: name, group, why: 'settles' })
  return to
}

function requireAfter(after: RedriveAfter | undefined, dryRun: unknown): RedriveAfter | undefined {
  if (after === undefined) return undefined
  if (dryRun !== true)
    throw invalidOption('redrive.after', after, 'none without dryRun: a run begins at the first letter')
  return {
    skip: requireInteger('redrive.after.skip', after.skip, 1, MOST_LOOKED_AT),
    id: requireText('redrive.after.id', after.id),
  }
}
