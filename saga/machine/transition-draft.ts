/** The next state in the making: what the rules of the machine are written with. One use, for one event. */
import { MINUTE } from '../../core/clock.ts'
import type { TimelineEntry } from './event.ts'
import { OPERATIONS, type OpenStatus, type Operation, operationIn } from './operation.ts'
import {
  type Call,
  type GrownStep,
  isEnded,
  openSteps,
  type RetryPolicy,
  type SagaFailure,
  type SagaParent,
  type SagaShape,
  type SagaState,
  type SagaStatus,
  type ScriptTurn,
  type StepFailure,
  type StepShape,
  type StepState,
  type Wait,
} from './state.ts'
import { branchShape, itemName, itemShape, layout } from './step-shape-lookup.ts'

/** When the saga is due again: within the caller's lease, after a time, unchanged, or never. */
export type Wake =
  | { readonly kind: 'keep' }
  | { readonly kind: 'lease' }
  | { readonly kind: 'in'; readonly ms: number }
  | { readonly kind: 'never' }

/** Changes and requests of an event. */
export interface Transition {
  readonly state: SagaState
  /** To be made after this state is durable (a command: together with it). */
  readonly calls: readonly Call[]
  readonly wake: Wake
  readonly timeline: readonly TimelineEntry[]
}

/** Longest pause between two unanswered calls, unless the time limit of one is longer. */
const MAX_PAUSE_MS = 10 * MINUTE

/** Doubled with each call without an answer. "Not yet" is an answer. */
function longerPause(shape: StepShape, { unanswered = 0, notYet = 0 }: StepState): number {
  const { timeoutMs, maxPauseMs = MAX_PAUSE_MS } = shape
  return Math.max(timeoutMs, Math.min(timeoutMs * 2 ** (unanswered - notYet), maxPauseMs))
}

export class TransitionDraft {
  status: SagaStatus
  failure: SagaFailure | undefined
  /** Reason to turn back when the running calls have returned. */
  cancel: StepFailure | undefined
  parent: SagaParent | undefined
  #timesStuck: number
  /** The event requests nothing: owner and due time stay unchanged. */
  keeps = false
  readonly #shape: SagaShape
  #shapes: readonly StepShape[]
  readonly #steps: StepState[]
  #pivot: number
  readonly #calls: Call[] = []
  readonly #timeline: TimelineEntry[] = []

  /** @param elapsedMs since the state was written */
  constructor(shape: SagaShape, state: SagaState, elapsedMs: number) {
    this.#shape = shape
    this.#shapes = layout(shape, state.steps)
    this.#steps = state.steps.map((step) =>
      step.leftMs === undefined ? step : { ...step, leftMs: Math.max(0, step.leftMs - elapsedMs) },
    )
    this.#pivot = this.#shapes.findIndex((step) => step.pivot)
    this.status = state.status
    this.failure = state.failure
    this.cancel = state.cancel
    this.parent = state.parent
    this.#timesStuck = state.timesStuck ?? 0
  }

  transition(): Transition {
    const cancel = this.status === 'running' || this.status === 'stuck' ? this.cancel : undefined
    const state = {
      status: this.status,
      steps: this.#steps,
      ...(this.failure && { failure: this.failure }),
      ...(cancel && { cancel }),
      ...(this.parent && { parent: this.parent }),
      ...(this.#timesStuck > 0 && { timesStuck: this.#timesStuck }),
    }
    return { state, calls: this.#calls, wake: this.#wake(), timeline: this.#timeline }
  }

  #wake(): Wake {
    if (isEnded(this.status) || this.status === 'stuck') return this.keeps ? { kind: 'keep' } : { kind: 'never' }
    if (this.#calls.some(({ index }) => this.step(index).wait === 'call')) return { kind: 'lease' }
    if (this.keeps || this.#steps.some(({ wait }) => wait === 'call')) return { kind: 'keep' }
    const left = this.open().flatMap((index) => this.step(index).leftMs ?? [])
    return left.length === 0 ? { kind: 'never' } : { kind: 'in', ms: Math.min(...left) }
  }

  /** How often the saga has become stuck. */
  get timesStuck(): number {
    return this.#timesStuck
  }

  /** The saga waits for an operator. */
  stick(): void {
    this.status = 'stuck'
    this.#timesStuck++
  }

  get steps(): readonly StepState[] {
    return this.#steps
  }

  step(index: number): StepState {
    return this.#steps[index] as StepState
  }

  shapeOf(index: number): StepShape {
    return this.#shapes[index] as StepShape
  }

  /** Code runs that adds branches, and decides what their answers mean. */
  get isCoding(): boolean {
    return this.#steps.some(({ wait }, index) => wait === 'call' && this.shapeOf(index).code === true)
  }

  /** Adds a branch and asks for its first call. */
  grow({ step, branch, payload, to }: GrownStep): void {
    const asked = { ...(payload !== undefined && { payload }), ...(to !== undefined && { to }) }
    const added: StepState = { step, status: 'pending', attempts: 0, branch, ...asked }
    this.#shapes = [...this.#shapes, branchShape(this.#shape, added)]
    this.begin(this.#steps.push(added) - 1, 'invoking')
  }

  /** Next action of its script; `undefined`: it has none. */
  turn(): ScriptTurn | undefined {
    return this.#shape.script?.next(this.#steps)
  }

  get isScripted(): boolean {
    return this.#shape.script !== undefined
  }

  /** Adds a step that was never called, or keeps what it has come to now. */
  keep(step: string, branch: string, fields: Partial<StepState>): void {
    const index = this.#steps.findIndex((state) => state.step === step)
    if (index !== -1) return this.set(index, fields)
    const added: StepState = { step, status: 'invoked', attempts: 0, branch, ...fields }
    this.#shapes = [...this.#shapes, branchShape(this.#shape, added)]
    this.#steps.push(added)
  }

  /** Adds a step for each item, behind the list. */
  list(index: number, items: readonly unknown[]): void {
    const { step } = this.step(index)
    const shape = this.shapeOf(index)
    const names = items.map((_, n) => itemName(step, n))
    const rows = names.map(
      (name, n): StepState => ({ step: name, status: 'pending', attempts: 0, branch: step, payload: items[n] }),
    )
    this.#steps.splice(index + 1, 0, ...rows)
    this.#shapes = this.#shapes.toSpliced(index + 1, 0, ...names.map((name) => itemShape(shape, name)))
    if (this.#pivot > index) this.#pivot += items.length
  }

  /** The list that a step is an item of, -1 for any other. */
  listOf(index: number): number {
    const { branch } = this.step(index)
    return branch === undefined ? -1 : this.#shapes.findIndex(({ name, each }) => name === branch && each !== undefined)
  }

  /** The indexes of the open steps. */
  open(): readonly number[] {
    return openSteps(this.#steps)
  }

  /** Something is called for the open step. False: it waits for an operator, a time, a signal, or the end of another saga. */
  isCalling(index: number): boolean {
    const { wait, leftMs } = this.step(index)
    if (wait === 'reply') return leftMs !== undefined
    return wait !== 'operator' && wait !== 'time' && wait !== 'signal'
  }

  /** The time of an open step has come. */
  isDue(index: number): boolean {
    const { leftMs } = this.step(index)
    return leftMs !== undefined && leftMs < 1
  }

  /** The index of `step` when exactly this operation of it is open, else -1. */
  indexOf(step: string, operation: Operation): number {
    return this.#steps.findIndex((state) => state.step === step && operationIn(state.status) === operation)
  }

  afterPivot(index: number): boolean {
    return this.#pivot !== -1 && index > this.#pivot
  }

  /** The pending steps that begin together with this one, and with those that are open. */
  groupOf(index: number): readonly number[] {
    const list = this.listOf(index)
    if (list !== -1) return this.itemsOf(list)
    const { group } = this.shapeOf(index)
    if (group === undefined) return [index]
    return this.#steps.flatMap(({ status }, other) =>
      status === 'pending' && this.shapeOf(other).group === group ? [other] : [],
    )
  }

  /** The items of a list that begin now: no more are open together than may be. */
  itemsOf(list: number): readonly number[] {
    const { step: name } = this.step(list)
    const items = this.#steps.flatMap(({ branch }, index) => (branch === name ? [index] : []))
    const open = items.filter((index) => operationIn(this.step(index).status) !== undefined).length
    const room = Math.max(0, (this.shapeOf(list).each?.atOnce ?? 1) - open)
    return items.filter((index) => this.step(index).status === 'pending').slice(0, room)
  }

  /** Status of a step that is given up without a known outcome. */
  undoneAs(index: number): 'failed' | 'unknown' {
    return this.shapeOf(index).transactional ? 'failed' : 'unknown'
  }

  /** Nothing was called yet that could have had an effect. */
  mayOmit(index: number): boolean {
    const { wait, attempts, doubt, orphans } = this.step(index)
    const begun = wait === 'retry' || wait === 'operator' || attempts > 1 || doubt === true || orphans !== undefined
    return this.shapeOf(index).conditional === true && !begun
  }

  /** False from the moment the pivot is begun, and from the first confirmation on. */
  mayTurnBack(index: number): boolean {
    return !this.isConfirmed && (this.#pivot === -1 || index < this.#pivot)
  }

  /** Something was asked to be confirmed: the decision to go on is durable. */
  get isConfirmed(): boolean {
    return this.#steps.some(({ status }) => status === 'confirming' || status === 'confirmed')
  }

  /** The operation that an open step is in. */
  operation(index: number): Operation {
    return operationIn(this.step(index).status) ?? 'invoke'
  }

  policy(index: number): RetryPolicy {
    const shape = this.shapeOf(index)
    return shape[this.operation(index)] ?? shape.invoke
  }

  /** Opens an operation and asks for its first call. */
  begin(index: number, status: OpenStatus): void {
    const { step, status: before, result, error, signal, reserved, branch, payload, to, round } = this.step(index)
    const isUndone = status === 'compensating' && before === 'invoked' && this.shapeOf(index).remote
    const known = {
      ...(isUndone && { succeeded: true as const }),
      ...(status === 'compensating' && round !== undefined && { invokedIn: round }),
      ...(branch !== undefined && { branch }),
      ...(payload !== undefined && { payload }),
      ...(to !== undefined && { to }),
      ...(reserved !== undefined && { reserved }),
      ...(result !== undefined && { result }),
      ...(error !== undefined && { error }),
      ...(signal !== undefined && { signal }),
    }
    this.#steps[index] = { step, status, attempts: 0, ...known }
    this.call(index, 1)
  }

  /** The call that is waited for leaves again, as the same attempt. It left before, so it may have been made. */
  resend(index: number): void {
    this.call(index, this.step(index).attempts)
    if (this.shapeOf(index).remote) this.set(index, { doubt: true })
  }

  /** Asks for a call of the open operation; a step that calls nothing begins to wait, a timer asks for its time. */
  call(index: number, attempt: number): void {
    const { remote, name, awaits } = this.shapeOf(index)
    const operation = this.operation(index)
    const wait = awaits ?? (remote ? 'reply' : 'call')
    const waitMs = longerPause(this.shapeOf(index), this.step(index))
    this.wait(index, wait, wait === 'call' || waitMs === Number.POSITIVE_INFINITY ? undefined : waitMs)
    this.set(index, { attempts: attempt })
    if (wait !== 'signal' || this.shapeOf(index).conditional === true)
      this.#calls.push({ index, step: name, operation, attempt })
    if (awaits === 'plan') return
    if (awaits !== undefined) this.note('waiting', index)
    else this.note(OPERATIONS[operation].open, index, { attempt })
  }

  /** Takes back a call that was asked for by this event. False: there was none. */
  revoke(index: number): boolean {
    const asked = this.#calls.findIndex((call) => call.index === index)
    if (asked === -1) return false
    this.#calls.splice(asked, 1)
    const { step } = this.step(index)
    const noted = this.#timeline.findLastIndex(
      ({ kind, step: of }) => of === step && (kind === 'invoking' || kind === 'waiting'),
    )
    if (noted !== -1) this.#timeline.splice(noted, 1)
    return true
  }

  /** How many calls of the open operation were answered, the newest included. */
  answered(index: number): number {
    const { attempts, unanswered = 0 } = this.step(index)
    return attempts - unanswered
  }

  /** An earlier copy was answered while a newer one is awaited: the participant is available, so the wait starts anew. */
  answeredLate(index: number, attempt: number): void {
    const unanswered = Math.max(0, (this.step(index).unanswered ?? 0) - 1)
    this.set(index, { unanswered, failedAttempt: attempt })
    this.wait(index, 'reply', longerPause(this.shapeOf(index), this.step(index)))
  }

  /** Sets the wait of an open step, and its limit. */
  wait(index: number, wait: Wait, leftMs: number | undefined): void {
    const { leftMs: _, ...rest } = this.step(index)
    this.#steps[index] = { ...rest, wait, ...(leftMs !== undefined && { leftMs }) }
  }

  /** An attempt ended without a certain outcome; of a transactional step certainly nothing is left. */
  doubt(index: number, error: StepFailure): void {
    this.set(index, this.shapeOf(index).transactional ? { error } : { error, doubt: true })
  }

  /** Ends the open operation. */
  close(index: number, status: StepState['status'], fields: Partial<StepState> = {}): void {
    const {
      wait: _,
      leftMs: __,
      doubt: ___,
      orphans: ____,
      signal: _____,
      unanswered: ______,
      notYet: _______,
      failedAttempt: ________,
      ...rest
    } = this.step(index)
    this.#steps[index] = { ...rest, ...fields, status }
  }

  set(index: number, fields: Partial<StepState>): void {
    this.#steps[index] = { ...this.step(index), ...fields }
  }

  note(kind: TimelineEntry['kind'], index?: number, detail?: TimelineEntry['detail']): void {
    const step = index === undefined ? undefined : this.step(index).step
    this.#timeline.push({ kind, ...(step !== undefined && { step }), ...(detail !== undefined && { detail }) })
  }
}
