/** Draft of the next state, which the rules of the machine modify. Used for one event. */
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
  /** Calls to make after this state is durable (commands are sent together with it). */
  readonly calls: readonly Call[]
  readonly wake: Wake
  readonly timeline: readonly TimelineEntry[]
}

/** Longest pause between two unanswered calls, unless the time limit of one is longer. */
const MAX_PAUSE_MS = 10 * MINUTE

/** Doubles the pause with each call without a reply. "Not yet" is a reply. */
function longerPause(shape: StepShape, { unanswered = 0, notYet = 0 }: StepState): number {
  const { timeoutMs, maxPauseMs = MAX_PAUSE_MS } = shape
  return Math.max(timeoutMs, Math.min(timeoutMs * 2 ** (unanswered - notYet), maxPauseMs))
}

export class TransitionDraft {
  status: SagaStatus
  failure: SagaFailure | undefined
  /** Reason to undo the saga after the running calls have returned. */
  cancel: StepFailure | undefined
  parent: SagaParent | undefined
  #timesStuck: number
  /** The event requests no call, so owner and due time stay unchanged. */
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

  /** How many times the saga has become stuck. */
  get timesStuck(): number {
    return this.#timesStuck
  }

  /** Parks the saga for an operator. */
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

  /** True while code runs that adds branches, and decides what their replies mean. */
  get isCoding(): boolean {
    return this.#steps.some(({ wait }, index) => wait === 'call' && this.shapeOf(index).code === true)
  }

  /** Adds a branch and requests its first call. */
  grow({ step, branch, payload, to }: GrownStep): void {
    const asked = { ...(payload !== undefined && { payload }), ...(to !== undefined && { to }) }
    const added: StepState = { step, status: 'pending', attempts: 0, branch, ...asked }
    this.#shapes = [...this.#shapes, branchShape(this.#shape, added)]
    this.begin(this.#steps.push(added) - 1, 'invoking')
  }

  /** Returns the next action of the script; `undefined` without a script. */
  turn(): ScriptTurn | undefined {
    return this.#shape.script?.next(this.#steps)
  }

  get isScripted(): boolean {
    return this.#shape.script !== undefined
  }

  /** Adds a step that was never called, or updates it. */
  keep(step: string, branch: string, fields: Partial<StepState>): void {
    const index = this.#steps.findIndex((state) => state.step === step)
    if (index !== -1) return this.set(index, fields)
    const added: StepState = { step, status: 'invoked', attempts: 0, branch, ...fields }
    this.#shapes = [...this.#shapes, branchShape(this.#shape, added)]
    this.#steps.push(added)
  }

  /** Adds a step for each item, after the list. */
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

  /** Returns the list that a step is an item of, -1 for other steps. */
  listOf(index: number): number {
    const { branch } = this.step(index)
    return branch === undefined ? -1 : this.#shapes.findIndex(({ name, each }) => name === branch && each !== undefined)
  }

  /** Returns the indexes of the open steps. */
  open(): readonly number[] {
    return openSteps(this.#steps)
  }

  /** Tells whether a call is open for the step. False: it waits for an operator, a time, a signal, or the end of another saga. */
  isCalling(index: number): boolean {
    const { wait, leftMs } = this.step(index)
    if (wait === 'reply') return leftMs !== undefined
    return wait !== 'operator' && wait !== 'time' && wait !== 'signal'
  }

  /** Tells whether an open step is due. */
  isDue(index: number): boolean {
    const { leftMs } = this.step(index)
    return leftMs !== undefined && leftMs < 1
  }

  /** Returns the index of `step` when exactly this operation of it is open, else -1. */
  indexOf(step: string, operation: Operation): number {
    return this.#steps.findIndex((state) => state.step === step && operationIn(state.status) === operation)
  }

  afterPivot(index: number): boolean {
    return this.#pivot !== -1 && index > this.#pivot
  }

  /** Returns the pending steps that begin together with this one and with the open ones. */
  groupOf(index: number): readonly number[] {
    const list = this.listOf(index)
    if (list !== -1) return this.itemsOf(list)
    const { group } = this.shapeOf(index)
    if (group === undefined) return [index]
    return this.#steps.flatMap(({ status }, other) =>
      status === 'pending' && this.shapeOf(other).group === group ? [other] : [],
    )
  }

  /** Returns the items of a list that begin now, within its concurrency. */
  itemsOf(list: number): readonly number[] {
    const { step: name } = this.step(list)
    const items = this.#steps.flatMap(({ branch }, index) => (branch === name ? [index] : []))
    const open = items.filter((index) => operationIn(this.step(index).status) !== undefined).length
    const room = Math.max(0, (this.shapeOf(list).each?.atOnce ?? 1) - open)
    return items.filter((index) => this.step(index).status === 'pending').slice(0, room)
  }

  /** Returns the status of a step that is given up without a known outcome. */
  undoneAs(index: number): 'failed' | 'unknown' {
    return this.shapeOf(index).transactional ? 'failed' : 'unknown'
  }

  /** Tells whether no call has been made that could have had an effect. */
  mayOmit(index: number): boolean {
    const { wait, attempts, doubt, orphans } = this.step(index)
    const begun = wait === 'retry' || wait === 'operator' || attempts > 1 || doubt === true || orphans !== undefined
    return this.shapeOf(index).conditional === true && !begun
  }

  /** Returns false once the pivot has begun, and from the first confirmation on. */
  mayTurnBack(index: number): boolean {
    return !this.isConfirmed && (this.#pivot === -1 || index < this.#pivot)
  }

  /** True when a confirmation was requested: the decision to go forward is durable. */
  get isConfirmed(): boolean {
    return this.#steps.some(({ status }) => status === 'confirming' || status === 'confirmed')
  }

  /** Returns the operation that an open step is in. */
  operation(index: number): Operation {
    return operationIn(this.step(index).status) ?? 'invoke'
  }

  policy(index: number): RetryPolicy {
    const shape = this.shapeOf(index)
    return shape[this.operation(index)] ?? shape.invoke
  }

  /** Opens an operation and requests its first call. */
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

  /** Sends the awaited call again, as the same attempt. It was sent before, so it may have been made. */
  resend(index: number): void {
    this.call(index, this.step(index).attempts)
    if (this.shapeOf(index).remote) this.set(index, { doubt: true })
  }

  /** Requests a call of the open operation. A step that calls nothing begins to wait; a timer requests its duration. */
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

  /** Withdraws a call that this event requested. False: there was none. */
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

  /** Returns how many calls of the open operation have a reply, including the newest. */
  answered(index: number): number {
    const { attempts, unanswered = 0 } = this.step(index)
    return attempts - unanswered
  }

  /** Handles a reply to an earlier copy while a newer one is awaited: the participant is available, so the wait starts again. */
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

  /** Handles an attempt without a certain outcome; a transactional step certainly had no effect. */
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
