/**
 * What a kind of step is: all that definitions and coordinators ask of one. The machine knows no kinds; it knows the facts
 * of a `StepShape`, which `resolve` fills in. A step carries its kind, so a definition loads the kinds that it uses.
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

/** A kind of step: its options, its part of the graph's hash, and its calls. The state machine knows no kinds. */
export interface StepKind<Step extends StepDefinition = StepDefinition> extends NamedKind {
  /** Names of the spans that tell of such a step. */
  readonly spans: StepSpans
  /** Options checked and merged with the defaults. @throws TypeError / RangeError naming the option and the remedy */
  resolve(place: StepPlace, options: object): Step
  /** Facts that distinguish two graphs beyond those of every step. Timeouts and retries are not among them. */
  graphOf(step: Step): GraphFacts
  tiesOf(step: Step): StepTies
  /**
   * Readies a call: gives `call` what has to leave with the commit.
   *
   * | `awaits` of the step | answers |
   * |---|---|
   * | absent | `undefined`: `run` is called, or a reply comes; `succeeded`, `refused`: nothing is called |
   * | `time` | `armed` |
   * | `signal` | `undefined`: called only for a conditional step; the first message ends the step |
   * | `plan` | `planned`, `chosen` |
   *
   * @returns what the machine has to hear at once; `undefined`: the outcome comes later
   * @throws whatever a function of the definition throws: the first call is refused, a later one failed
   */
  prepare(step: Step, call: PreparedCall): Promise<SagaEvent | undefined> | SagaEvent | undefined
  /** A step of this kind that is one item of a list: its functions are given the item, too. Absent: a list has none. */
  withItem?(step: Step, item: ListItem): Step
  /** The step that was added behind one of this kind while the saga ran. Absent: none is. */
  grow?(step: Step, added: StepState): StepDefinition
  /** Makes a call within this process (`wait: 'call'`). Absent: steps of this kind are made elsewhere, or only wait. */
  run?(step: Step, operation: Operation, context: RunContext): unknown
  /** Outcome of a call whose result cannot be stored, so that the definition decides. Absent: it has failed. */
  unstorable?(step: Step, error: unknown): unknown
}

/** Where a step is added. */
export interface StepPlace {
  /** For error messages: `defineSaga("place-order").step`. */
  readonly method: string
  readonly name: string
  /** True: the saga has its pivot already. */
  readonly pivoted: boolean
}

/** Extra context of a step's functions for an item of a list. */
export interface ListItem<Item = unknown> {
  /** The item as planned: JSON. */
  readonly item: Item
  /** Its place in the list, from 0. */
  readonly index: number
}

/** JSON. */
export type GraphFacts = Readonly<Record<string, unknown>>

/** Connections of a step outside its saga. */
export interface StepTies {
  /** Where its commands go. */
  readonly to?: Channel | undefined
  /** Set when the coordinator's process asks there itself. */
  readonly at?: DirectTarget | undefined
  /** The messages that tell it to go on: the first one for the saga ends the step. */
  readonly from?: SignalSource | undefined
  /** The saga that it is. */
  readonly saga?: Saga | undefined
  /** Schema of a result that comes from outside. @default any JSON */
  readonly result?: StandardSchemaV1 | undefined
}

/** Handling of a message whose saga does not exist. */
export type MissingSaga = 'ignore' | 'retry' | 'dead-letter'

/** Which messages of which channel are signals, and for which sagas. */
export interface SignalSource {
  readonly channel: Channel
  readonly correlate: (payload: unknown) => unknown
  readonly missing: MissingSaga
}

export interface StepSpans {
  /** When its outcome comes; `undefined`: the span of the call has told it. */
  readonly outcome: string | undefined
  /** When it is done because its time has come; absent: time alone never ends it. */
  readonly due?: string | undefined
}

/** Context of a function that the coordinator runs. */
export type RunContext = CompensationContext &
  Partial<WithTransaction> & {
    readonly tried: boolean
    /** The code of the transaction, in the process that has it. */
    readonly body?: TransactionBody | undefined
  }

/** The code of a transaction that is just code, in the process that runs it. */
export interface TransactionBody {
  run(context: StepContext): unknown
}

/** A saga that is a step of another, and begins. */
export interface ChildStart {
  readonly id: string
  readonly input: unknown
  /** Earlier runs of the step, newest first. @see SagaWrite.earlier */
  readonly earlier: readonly SagaKey[]
}

/** A call that a transition asked for, before anything is written. */
export interface PreparedCall {
  readonly call: Call
  readonly row: Pick<SagaRow, 'name' | 'id' | 'birth'>
  /** The step as the transition leaves it. */
  readonly state: StepState
  readonly sender: Sender
  readonly clock: Clock
  /** Limit on stored payloads. */
  readonly maxPayloadBytes: number
  /** The code that the step is, when this process has it. */
  readonly body: TransactionBody | undefined
  /** Context of conditions and requests; read on demand. @throws `saga.input_unreadable`, `saga.result_unreadable` */
  context(): Promise<RequestContext>
  /** False: this process makes no local calls now. One answer for all calls of a commit. */
  mayRun(): boolean
  /** False: another process shall send the request. */
  mayAsk(): boolean
  /** Sends a command with the commit; asks `at`, if it is given, after it. */
  send(command: EncodedMessage, at?: DirectTarget): void
  /** Starts a saga with the commit. @throws SchemaError, `saga.payload_too_large` */
  start(saga: Saga, child: ChildStart, parent: SagaParent): Promise<void>
  /** Leaves mail for another saga with the commit. */
  post(mail: SagaPost): void
}

/** @throws TypeError for a step that this release cannot make */
export function kindOf({ kind, name }: StepDefinition): StepKind {
  if (typeof (kind as Partial<StepKind> | undefined)?.prepare === 'function') return kind as StepKind
  throw new TypeError(
    `step "${name}": expected a kind of step, got ${show(kind)}. Make the saga with defineSaga of this release.`,
  )
}
