/**
 * Contract of a kind of step, for definitions and coordinators. The machine does not know kinds, only the facts of a `StepShape`,
 * which `resolve` fills in. A step refers to its kind, so a definition loads only the kinds that it uses.
 */
import type { Channel } from '../../../binder/channel/channel.ts'
import type { EncodedMessage } from '../../../binder/channel/message.ts'
import type { Clock } from '../../../core/clock.ts'
import { show } from '../../../core/errors.ts'
import type { StandardSchemaV1 } from '../../../core/schema.ts'
import type { DirectTarget } from '../../direct/target.ts'
import type { SagaEvent } from '../../machine/event.ts'
import type { Operation } from '../../machine/operation.ts'
import type { Call, SagaParent, StepState } from '../../machine/state.ts'
import type { SagaKey, SagaPost, SagaRow } from '../../store/store-types.ts'
import type { Sender } from '../../wire/wire.ts'
import type { NamedKind, Saga, StepDefinition } from '../saga-definition-types.ts'
import type { CompensationContext, RequestContext, StepContext, WithTransaction } from '../step-contexts.ts'

/** A kind of step: its options, its part of the graph's hash, and its calls. The state machine does not know kinds. */
export interface StepKind<Step extends StepDefinition = StepDefinition> extends NamedKind {
  /** Names of the spans for such a step. */
  readonly spans: StepSpans
  /** Checks the options and merges them with the defaults. @throws TypeError / RangeError naming the option and the remedy */
  resolve(place: StepPlace, options: object): Step
  /** Returns facts that distinguish two graphs beyond those of every step, without timeouts and retries. */
  graphOf(step: Step): GraphFacts
  tiesOf(step: Step): StepTies
  /**
   * Prepares a call: passes `call` the messages to send with the commit.
   *
   * | `awaits` of the step | returns |
   * |---|---|
   * | absent | `undefined`: `run` is called, or a reply arrives; `succeeded`, `refused`: nothing is called |
   * | `time` | `armed` |
   * | `signal` | `undefined`: called only for a conditional step; the first message ends the step |
   * | `plan` | `planned`, `chosen` |
   *
   * @returns event to apply at once; `undefined`: the outcome follows later
   * @throws errors of the definition's functions: the first call is then refused, a later one failed
   */
  prepare(step: Step, call: PreparedCall): Promise<SagaEvent | undefined> | SagaEvent | undefined
  /** Returns the step for one item of a list, whose functions also receive the item. Absent: not allowed in lists. */
  withItem?(step: Step, item: ListItem): Step
  /** Returns the step that was added after a step of this kind while the saga ran. Absent: no steps are added. */
  grow?(step: Step, added: StepState): StepDefinition
  /** Makes a call in this process (`wait: 'call'`). Absent: steps of this kind run elsewhere, or only wait. */
  run?(step: Step, operation: Operation, context: RunContext): unknown
  /** Returns the outcome of a call whose result cannot be stored, if the definition decides it. Absent: the call has failed. */
  unstorable?(step: Step, error: unknown): unknown
}

/** Position where a step is added. */
export interface StepPlace {
  /** For error messages: `defineSaga("place-order").step`. */
  readonly method: string
  readonly name: string
  /** True: the saga already has its pivot. */
  readonly pivoted: boolean
}

/** Additional context of a step's functions for an item of a list. */
export interface ListItem<Item = unknown> {
  /** The item as planned: JSON. */
  readonly item: Item
  /** Position in the list, from 0. */
  readonly index: number
}

/** JSON. */
export type GraphFacts = Readonly<Record<string, unknown>>

/** Connections of a step to the outside of its saga. */
export interface StepTies {
  /** Channel of its commands. */
  readonly to?: Channel | undefined
  /** Set when the coordinator's process calls the participant itself. */
  readonly at?: DirectTarget | undefined
  /** Messages that the step waits for: the first one for the saga ends the step. */
  readonly from?: SignalSource | undefined
  /** The sub-saga, if the step is one. */
  readonly saga?: Saga | undefined
  /** Schema of a result that comes from outside. @default any JSON */
  readonly result?: StandardSchemaV1 | undefined
}

/** Handling of a message whose saga does not exist. */
export type MissingSaga = 'ignore' | 'retry' | 'dead-letter'

/** Channel and messages that are signals, and their sagas. */
export interface SignalSource {
  readonly channel: Channel
  readonly correlate: (payload: unknown) => unknown
  readonly missing: MissingSaga
}

export interface StepSpans {
  /** Name when the outcome arrives; `undefined`: the span of the call has recorded it. */
  readonly outcome: string | undefined
  /** Name when the step is done because it is due; absent: time alone never ends it. */
  readonly due?: string | undefined
}

/** Context of a function that the coordinator runs. */
export type RunContext = CompensationContext &
  Partial<WithTransaction> & {
    readonly tried: boolean
    /** The code of the transaction, in the process that runs it. */
    readonly body?: TransactionBody | undefined
  }

/** The code of a global transaction, in the process that runs it. */
export interface TransactionBody {
  run(context: StepContext): unknown
}

/** A saga that begins as a step of another. */
export interface ChildStart {
  readonly id: string
  readonly input: unknown
  /** Earlier runs of the step, newest first. @see SagaWrite.earlier */
  readonly earlier: readonly SagaKey[]
}

/** A call that a transition requires, before anything is written. */
export interface PreparedCall {
  readonly call: Call
  readonly row: Pick<SagaRow, 'name' | 'id' | 'birth'>
  /** State of the step after the transition. */
  readonly state: StepState
  readonly sender: Sender
  readonly clock: Clock
  /** Limit on stored payloads. */
  readonly maxPayloadBytes: number
  /** The code of the step, if this process has it. */
  readonly body: TransactionBody | undefined
  /** Context of conditions and requests; read on demand. @throws `saga.input_unreadable`, `saga.result_unreadable` */
  context(): Promise<RequestContext>
  /** False: this process cannot make local calls now. One answer for all calls of a commit. */
  mayRun(): boolean
  /** False: another process shall send the request. */
  mayAsk(): boolean
  /** Sends a command with the commit, or calls `at` after the commit if it is given. */
  send(command: EncodedMessage, at?: DirectTarget): void
  /** Starts a saga with the commit. @throws SchemaError, `saga.payload_too_large` */
  start(saga: Saga, child: ChildStart, parent: SagaParent): Promise<void>
  /** Stores mail for another saga with the commit. */
  post(mail: SagaPost): void
}

/** @throws TypeError for a step whose kind this release does not know */
export function kindOf({ kind, name }: StepDefinition): StepKind {
  if (typeof (kind as Partial<StepKind> | undefined)?.prepare === 'function') return kind as StepKind
  throw new TypeError(
    `step "${name}": expected a kind of step, got ${show(kind)}. Make the saga with defineSaga of this release.`,
  )
}
