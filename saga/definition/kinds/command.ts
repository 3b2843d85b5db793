/** `.command(...)`: a participant in another service performs the step. The command is sent through the outbox. */
import type { Channel } from '../../../binder/channel/channel.ts'
import { invalidOption } from '../../../core/errors.ts'
import { optionNames } from '../../../core/option-checks.ts'
import { A_SCHEMA, type StandardSchemaV1 } from '../../../core/schema.ts'
import { callTimes, resolveDestination } from '../../direct/destination.ts'
import type { DirectTarget } from '../../direct/target.ts'
import { CALL_OPTIONS, patient, type RawCallOptions, resolveCall, stepPath } from '../resolve-step-options.ts'
import type { StepDefinition } from '../saga-definition-types.ts'
import type { RequestContext } from '../step-contexts.ts'
import type { CallOptions, Forward, Undoable } from '../step-options.ts'
import { askParticipant } from './ask-participant.ts'
import type { StepKind } from './kind.ts'

/** Destination and payload of a command, and the schema of its reply. */
export interface CommandRequest<Input, Results extends object, ToIn, Reply extends StandardSchemaV1>
  extends CallOptions {
  /** The participant's command channel; or `httpTarget(channel, { url })`, `localTarget(channel, participant, { sql })`. */
  readonly to: Channel<ToIn, unknown> | DirectTarget<ToIn>
  /**
   * Returns the command's payload. Must be pure: called again for each resend, and for the compensation, confirmation or
   * cancellation.
   */
  readonly request: (context: RequestContext<Input, Results>) => ToIn
  /** Schema of the reply's result; with a `tccParticipant`, of the result of its `try`. @default any JSON, typed `unknown` */
  readonly reply?: Reply | undefined
}

/** Options of `.command` before the pivot, where it can be undone. */
export interface CommandOptions<Input, Results extends object, ToIn, Reply extends StandardSchemaV1>
  extends CommandRequest<Input, Results, ToIn, Reply>,
    Undoable {
  /** Absent or false here: `true` makes it the pivot, which takes `ForwardCommandOptions`. */
  readonly pivot?: false | undefined
}

/** Options of `.command` as the pivot or after it, where nothing is undone. */
export interface ForwardCommandOptions<Input, Results extends object, ToIn, Reply extends StandardSchemaV1>
  extends CommandRequest<Input, Results, ToIn, Reply>,
    Forward {}

interface CommandDefinition extends StepDefinition {
  readonly to: Channel
  /** Set when the participant is called directly. */
  readonly at: DirectTarget | undefined
  readonly request: (context: RequestContext) => unknown
  readonly reply: StandardSchemaV1 | undefined
}

/** Options as received: unchecked, possibly from plain JavaScript. */
interface Raw extends RawCallOptions {
  readonly to?: unknown
  readonly request?: unknown
  readonly reply?: Partial<StandardSchemaV1> | undefined
}

const NAMES = optionNames<CommandOptions<unknown, object, unknown, StandardSchemaV1>>({
  ...CALL_OPTIONS,
  to: true,
  request: true,
  reply: true,
})
const ATTEMPTS = 5

export const COMMAND: StepKind<CommandDefinition> = {
  name: 'command',
  spans: { outcome: 'reply' },
  resolve(place, options: Raw) {
    const path = stepPath(place, options, NAMES)
    const { to, request, reply, compensate } = options
    const destination = resolveDestination(`${path}.to`, to)
    const { timeoutMs, ...times } = callTimes(destination.at, options.timeoutMs)
    if (typeof request !== 'function') throw invalidOption(`${path}.request`, request, 'a function')
    if (reply !== undefined && typeof reply['~standard']?.validate !== 'function') {
      throw invalidOption(`${path}.reply`, reply, A_SCHEMA)
    }
    if (compensate !== undefined && compensate !== 'none' && compensate !== true) {
      throw invalidOption(`${path}.compensate`, compensate, "true (the participant undoes it), or 'none'")
    }
    return Object.freeze({
      ...patient(resolveCall(path, place, { ...options, timeoutMs }, ATTEMPTS), options),
      ...times,
      kind: COMMAND,
      remote: true,
      transactional: false,
      ...destination,
      request: request as CommandDefinition['request'],
      reply: reply as StandardSchemaV1 | undefined,
    })
  },
  graphOf: ({ to }) => ({ to: to.name }),
  tiesOf: ({ to, at, reply }) => ({ to, at, result: reply }),
  withItem: (step, item) => ({ ...step, request: (context) => step.request({ ...context, ...item }) }),
  prepare: (step, prepared) => askParticipant(step, prepared),
}
