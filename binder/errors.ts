import { counted } from '../core/counted.ts'
import { ConcordatError } from '../core/errors.ts'

/**
 * What the broker would not do.
 * - `unavailable`, `timeout`: not reached or not answered in time; whether it arrived is unknown. Try again, same id.
 * - `refused`: the broker said no for now (alarm, quota, not enough replicas). Try again later.
 * - `too_large`, `unroutable`, `mismatch`: will fail again until the message or the configuration changes.
 * - `closed`: the transport was closed by us.
 */
export type TransportErrorKind =
  | 'unavailable'
  | 'timeout'
  | 'refused'
  | 'too_large'
  | 'unroutable'
  | 'mismatch'
  | 'closed'

export class TransportError extends ConcordatError {
  readonly code = 'binder.transport' as const
  readonly retryable: boolean
  readonly kind: TransportErrorKind
  readonly transport: string
  readonly destination: string | undefined
  /** Number of partitions that the destination has, when it was declared with another number. */
  readonly partitions: number | undefined

  constructor(fields: {
    transport: string
    kind: TransportErrorKind
    destination?: string
    partitions?: number
    message: string
    cause?: unknown
  }) {
    super(fields.message, fields.cause === undefined ? undefined : { cause: fields.cause })
    this.kind = fields.kind
    this.retryable = fields.kind === 'unavailable' || fields.kind === 'timeout' || fields.kind === 'refused'
    this.transport = fields.transport
    this.destination = fields.destination
    this.partitions = fields.partitions
  }
}

/** Another partition count exists than is declared: with two opinions a key would be in two places. */
export function partitionMismatch(
  transport: string,
  destination: string,
  partitions: { readonly existing: number; readonly declared: number },
  remedy: string,
  cause?: unknown,
): TransportError {
  const { existing, declared } = partitions
  return new TransportError({
    transport,
    kind: 'mismatch',
    destination,
    partitions: existing,
    message:
      `"${destination}" has ${counted(existing, 'partition')} on ${transport}, this service declares ${declared}: a key would ` +
      `change its partition. Say partitions: ${existing} in its defineChannel, or, to change it, ${remedy}.`,
    ...(cause === undefined ? {} : { cause }),
  })
}

/** A `send` that the broker did not confirm. `cause` says why; `retryable` says whether the same call can succeed later. */
export class SendError extends ConcordatError {
  readonly code = 'binder.send' as const
  readonly retryable: boolean
  readonly destination: string
  readonly messageId: string

  constructor(destination: string, messageId: string, cause: Error & { retryable?: boolean }) {
    super(`message ${messageId} to "${destination}" was not confirmed: ${cause.message}`, { cause })
    this.retryable = cause.retryable !== false
    this.destination = destination
    this.messageId = messageId
  }
}

const CLOSED_BINDER = 'send nothing after close(), or make another with createBinder or createService'

const BINDER_REMEDIES = {
  'not started':
    'a started binder, got one that is not started: await start() of the binder, or of its service, before the call',
  'already started': 'the first start(), got another: call it once, and make another binder to start again',
  closing: `an open binder, got one that is closing: ${CLOSED_BINDER}`,
  closed: `an open binder, got one that is closed: ${CLOSED_BINDER}`,
} as const

/** The binder is not started, or closed. */
export class BinderClosed extends ConcordatError {
  readonly code = 'binder.closed' as const
  readonly retryable = false as const

  /** @param path what was called, such as `binder("shop").send` */
  constructor(state: 'not started' | 'already started' | 'closing' | 'closed', path: string = 'the binder') {
    super(`${path}: expected ${BINDER_REMEDIES[state]}`)
  }
}

/** `ready()` ran out of time. Names the bindings that are not running and why. */
export class BinderNotReady extends ConcordatError {
  readonly code = 'binder.not_ready' as const
  readonly retryable = true as const
  readonly bindings: readonly string[]

  constructor(
    waiting: ReadonlyArray<{ readonly name: string; readonly state: string; readonly error?: string | undefined }>,
  ) {
    const list = waiting.map((b) => `${b.name} is ${b.state}${b.error === undefined ? '' : ` (${b.error})`}`).join('; ')
    super(`not ready: ${list}. Check that the broker is up and reachable; the binder keeps trying.`)
    this.bindings = waiting.map((b) => b.name)
  }
}

/** Thrown by a handler to say: do not try again, dead-letter this message now. */
export class TerminalError extends ConcordatError {
  readonly code = 'binder.terminal' as const
  readonly retryable = false as const
}

/** A redrive that got nothing to read although there is something. What it did until then stays done. */
export class RedriveStalled extends ConcordatError {
  readonly code = 'binder.redrive_stalled' as const
  readonly retryable = true as const
  readonly destination: string
  readonly sent: number
  readonly kept: number

  constructor(
    destination: string,
    waitedMs: number,
    counts: { readonly sent: number; readonly kept: number },
    cause?: unknown,
  ) {
    super(
      `"${destination}" gave nothing to read for ${waitedMs} ms (${counts.sent} sent back, ${counts.kept} kept so far). ` +
        'Stop whatever else reads it in the group "redrive", check that the broker is up, and run it again.',
      cause === undefined ? undefined : { cause },
    )
    this.destination = destination
    this.sent = counts.sent
    this.kept = counts.kept
  }
}

/**
 * The broker has lost the position of redrives on these dead letters, and an earlier redrive was cut off: which messages it sent back is
 * unknown. Nothing was changed.
 */
export class RedrivePositionUnknown extends ConcordatError {
  readonly code = 'binder.redrive_position_unknown' as const
  readonly retryable = false as const
  readonly destination: string
  /** The group at the broker. */
  readonly group: string
  /** Up to here letters were settled for certain; `undefined`: not known of any. */
  readonly settled: string | undefined

  constructor(
    destination: string,
    group: string,
    open: { readonly id: string; readonly position: string },
    settled: string | undefined,
  ) {
    super(
      `the broker has dropped the position of the group "${group}" on "${destination}", and the redrive ${open.id} was cut off: ` +
        `${settled === undefined ? 'any letter' : `letters behind ${settled}`} before ${open.position} may have been sent back. ` +
        'Look at them with a dry run, and set the offset of the first letter to send: ' +
        `kafka-consumer-groups.sh --group ${group} --topic ${destination} --reset-offsets --to-offset N --execute`,
    )
    this.destination = destination
    this.group = group
    this.settled = settled
  }
}

/** Why another group would handle a letter twice that is sent back to the channel. */
export type RedriveRepeats = keyof typeof REPEATS

const REPEATS = {
  settles: 'groups of it may settle in their transactions (settlesIn) and would apply the effect again',
  letters: 'the group "redrive" of a channel of dead letters would have the letter twice',
} as const

/**
 * A redrive to every group of a channel, of which another would handle the message a second time: groups that may settle without an
 * inbox, or the group `redrive` of a channel of dead letters. Nothing was changed.
 */
export class RedriveWouldRepeat extends ConcordatError {
  readonly code = 'binder.redrive_would_repeat' as const
  readonly retryable = false as const
  readonly channel: string
  readonly group: string
  readonly why: RedriveRepeats

  constructor(channel: string, group: string, why: RedriveRepeats) {
    super(
      `redrive of "${channel}" / "${group}" to 'channel': ${REPEATS[why]}. ` +
        "Send the letters to the group that failed, which is the default (to: 'group')",
    )
    this.channel = channel
    this.group = group
    this.why = why
  }
}

/**
 * A batch handler returned something else than nothing or one outcome per message. Which of them it handled is unknown:
 * all count as failed, and are dead-lettered without another call.
 */
export class BatchOutcomesInvalid extends ConcordatError {
  readonly code = 'binder.batch_outcomes' as const
  readonly retryable = false as const
  readonly binding: string

  constructor(binding: string, returned: string, expected: number) {
    super(
      `the batch handler of "${binding}" returned ${returned} for ${counted(expected, 'message')}: return nothing when all were ` +
        'handled, else one outcome per message in their order, e.g. Promise.allSettled(items.map(handle))',
    )
    this.binding = binding
  }
}

/**
 * A binding with `settlesIn` whose messages could have two effects, or none.
 * - `transport`: it cannot settle in transactions
 * - `database`: its messages do not lie in the database of the handler's transactions
 * - `channel`: not every sender is known to send in transactions (`transactional: true`)
 * - `output`: what it sends lies on another transport of `combineTransports`
 * - `batch`, `poll`: batches and `pollable` settle no places in transactions
 */
export class CannotSettleIn extends ConcordatError {
  readonly code = 'binder.cannot_settle_in' as const
  readonly retryable = false as const
  readonly channel: string
  readonly why: 'transport' | 'database' | 'channel' | 'output' | 'batch' | 'poll'

  constructor(path: string, channel: string, why: CannotSettleIn['why'], transport: string = 'none') {
    const reason = {
      transport: `the transport ${transport} settles in no transaction: use postgresTransport, or an inbox`,
      database:
        `the messages of ${transport} do not lie in this database: give this client to postgresTransport as ` +
        '`sql` or `transactionsOf`, or use an inbox',
      channel:
        'a sender that sends again after an answer that was lost would have its effect twice: say `transactional: true` in ' +
        'defineChannel, which refuses such senders, or use an inbox',
      output: `its output lies on another transport than its input, which is on ${transport}: use an inbox, whose outbox sends there`,
      batch:
        'a batch settles no places in its transaction: use an inbox, or a sink with settlesIn, whose messages share transactions',
      poll: 'a pollable settles no place in its transaction: use an inbox, or a sink with settlesIn',
    }
    super(`${path}: ${reason[why]}`)
    this.channel = channel
    this.why = why
  }
}
