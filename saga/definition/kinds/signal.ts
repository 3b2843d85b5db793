/** `.signal(...)`: done by `coordinator.signal` or by a message of a channel. Calls nothing. */
import { type Channel, requireChannel } from '../../../binder/channel/channel.ts'
import { invalidOption, requireInteger } from '../../../core/errors.ts'
import { optionNames } from '../../../core/option-checks.ts'
import { A_SCHEMA, type StandardSchemaV1 } from '../../../core/schema.ts'
import { MAX_DELAY_MS, stepPath, WAITING_STEP } from '../resolve-step-options.ts'
import type { StepDefinition } from '../saga-definition-types.ts'
import type { MissingSaga, SignalSource, StepKind } from './kind.ts'

/** A signal sent with `coordinator.signal`. */
export interface SignalOptions<Payload extends StandardSchemaV1> {
  /** Schema of the payload, which is stored in its input form, as JSON. */
  readonly payload: Payload
  /** Time limit, after which the saga is undone (after the pivot: `stuck`). @default waits forever */
  readonly timeoutMs?: number | undefined
}

/** Options of `.signal` that waits for a message of a channel. */
export interface MessageSignalOptions<In, Out> {
  /** Channel whose messages are signals; the coordinator consumes it with its own binding. */
  readonly from: Channel<In, Out>
  /** Returns the id of the saga for the message, or `undefined` if there is none. If it throws, the message is retried. */
  readonly correlate: (payload: Out) => string | undefined
  /**
   * Treatment of a message whose saga does not exist, because it has not started yet or was deleted. `'ignore'`: settled, counted
   * and logged. `'retry'`: retried for about a minute, then dead-lettered; later messages with the same key wait.
   * `'dead-letter'`: dead-lettered at once, for an operator to redrive.
   * @default 'ignore'
   */
  readonly missing?: 'ignore' | 'retry' | 'dead-letter' | undefined
  /** Same as in `SignalOptions`. */
  readonly timeoutMs?: number | undefined
}

interface SignalDefinition extends StepDefinition {
  readonly payload: StandardSchemaV1 | undefined
  readonly from: SignalSource | undefined
}

/** Options as received: unchecked, possibly from plain JavaScript. */
interface Raw {
  readonly payload?: Partial<StandardSchemaV1> | undefined
  readonly timeoutMs?: number | undefined
  readonly from?: unknown
  readonly correlate?: unknown
  readonly missing?: unknown
}

const MISSING: readonly unknown[] = ['ignore', 'retry', 'dead-letter'] satisfies readonly MissingSaga[]

const NAMES = optionNames<SignalOptions<StandardSchemaV1> & MessageSignalOptions<unknown, unknown>>({
  payload: true,
  timeoutMs: true,
  from: true,
  correlate: true,
  missing: true,
})

export const SIGNAL: StepKind<SignalDefinition> = {
  name: 'signal',
  spans: { outcome: 'reply' },
  resolve(place, options: Raw) {
    const path = stepPath(place, options, NAMES)
    const { payload, timeoutMs } = options
    if ((payload === undefined) === (options.from === undefined)) {
      throw new TypeError(`${path}: expected either payload (for coordinator.signal) or from (a channel)`)
    }
    if (payload !== undefined && typeof payload['~standard']?.validate !== 'function') {
      throw invalidOption(`${path}.payload`, payload, A_SCHEMA)
    }
    return Object.freeze({
      ...WAITING_STEP,
      name: place.name,
      kind: SIGNAL,
      awaits: 'signal',
      from: sourceOf(path, options),
      timeoutMs:
        timeoutMs === undefined
          ? Number.POSITIVE_INFINITY
          : requireInteger(`${path}.timeoutMs`, timeoutMs, 1, MAX_DELAY_MS),
      payload: payload as StandardSchemaV1 | undefined,
    })
  },
  graphOf: ({ from }) => (from === undefined ? {} : { from: from.channel.name }),
  tiesOf: ({ from, payload }) => ({ from, result: payload }),
  // Called for conditional steps only; whether one is needed is not known before.
  prepare: (_, { state }) =>
    state.signal === undefined ? undefined : { type: 'signalled', step: state.step, ...state.signal },
}

function sourceOf(path: string, { from, correlate, missing }: Raw): SignalSource | undefined {
  if (from !== undefined) requireChannel(`${path}.from`, from as Channel)
  if ((typeof correlate === 'function') !== (from !== undefined)) {
    throw invalidOption(`${path}.correlate`, correlate, 'a function from the message to the id of its saga, with from')
  }
  if (missing !== undefined && (from === undefined || !MISSING.includes(missing))) {
    throw invalidOption(`${path}.missing`, missing, "'ignore', 'retry' or 'dead-letter', with from")
  }
  if (from === undefined) return undefined
  return Object.freeze({
    channel: from as Channel,
    correlate: correlate as SignalSource['correlate'],
    missing: (missing ?? 'ignore') as MissingSaga,
  })
}
