/** `.signal(...)`: done by `coordinator.signal` or by a message of a channel. Calls nothing. */
import { type Channel, requireChannel } from '../../../binder/channel/channel.ts'
import { invalidOption, requireInteger } from '../../../core/errors.ts'
import { optionNames } from '../../../core/option-checks.ts'
import type { StandardSchemaV1 } from '../../../core/schema.ts'
import { MAX_DELAY_MS, stepPath, WAITING_STEP } from '../resolve-step-options.ts'
import type { StepDefinition } from '../saga-definition-types.ts'
import type { MissingSaga, SignalSource, StepKind } from './kind.ts'

/** A signal sent with `coordinator.signal`. */
export interface SignalOptions<Payload extends StandardSchemaV1> {
  /** Payload; stored in its input form, as JSON. */
  readonly payload: Payload
  /** The saga turns back when it has not come by then (after the pivot: is `stuck`). @default waits forever */
  readonly timeoutMs?: number | undefined
}

/** A message of a channel is the signal. */
export interface MessageSignalOptions<In, Out> {
  /** The channel whose messages are the signal; the coordinator consumes it with a binding of its own. */
  readonly from: Channel<In, Out>
  /** The id of the saga that the message is for; `undefined`: of none. Anything else fails, and the message is tried again. */
  readonly correlate: (payload: Out) => string | undefined
  /**
   * What becomes of a message whose saga does not exist, because it is not started yet or was deleted. `'ignore'`: it is settled, counted
   * and logged. `'retry'`: it is tried again for about a minute, and is a dead letter then; messages behind it in its order wait.
   * `'dead-letter'`: it is a dead letter at once, for an operator to send again.
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

/** The options as they come: unchecked, possibly from plain JavaScript. */
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
      throw invalidOption(`${path}.payload`, payload, 'a Standard Schema such as z.object({...})')
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
  // Asked for conditional steps only, of which the machine does not know before that they are needed.
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
