/** The next state in the making: what the rules of the machine are written with. One use, for one event. */
import type { TimelineEntry } from './event.ts'
import {
  type Call,
  type Operation,
  openStep,
  operationOf,
  type RetryPolicy,
  type SagaFailure,
  type SagaShape,
  type SagaState,
  type SagaStatus,
  type StepFailure,
  type StepShape,
  type StepState,
} from './state.ts'

/** When somebody must look again: within the lease of whoever makes the call, after a time, or never. */
export type Wake =
  | { readonly kind: 'lease' }
  | { readonly kind: 'in'; readonly ms: number }
  | { readonly kind: 'never' }

export interface Transition {
  readonly state: SagaState
  /** To be made after this state is durable (a command: together with it). */
  readonly calls: readonly Call[]
  readonly wake: Wake
  readonly timeline: readonly TimelineEntry[]
}

export class Draft {
  status: SagaStatus
  failure: SagaFailure | undefined
  wake: Wake = { kind: 'never' }
  readonly #shape: SagaShape
  readonly #steps: StepState[]
  readonly #pivot: number
  readonly #calls: Call[] = []
  readonly #timeline: TimelineEntry[] = []

  constructor(shape: SagaShape, state: SagaState) {
    this.#shape = shape
    this.#steps = [...state.steps]
    this.#pivot = shape.steps.findIndex((step) => step.pivot)
    this.status = state.status
    this.failure = state.failure
  }

  transition(): Transition {
    const state = { status: this.status, steps: this.#steps, ...(this.failure && { failure: this.failure }) }
    return { state, calls: this.#calls, wake: this.wake, timeline: this.#timeline }
  }

  get steps(): readonly StepState[] {
    return this.#steps
  }

  step(index: number): StepState {
    return this.#steps[index] as StepState
  }

  shapeOf(index: number): StepShape {
    return this.#shape.steps[index] as StepShape
  }

  /** The index of the open step, or -1. */
  openIndex(): number {
    return openStep({ status: this.status, steps: this.#steps })
  }

  /** The index of `step` when exactly this operation of it is open, else -1. */
  indexOf(step: string, operation: Operation): number {
    return this.#steps.findIndex((state) => state.step === step && operationOf(state) === operation)
  }

  afterPivot(index: number): boolean {
    return this.#pivot !== -1 && index > this.#pivot
  }

  /** The operation that an open step is in. */
  operation(index: number): Operation {
    return this.step(index).status === 'compensating' ? 'compensate' : 'invoke'
  }

  policy(index: number): RetryPolicy {
    return this.shapeOf(index)[this.operation(index)]
  }

  /** Opens an operation and asks for its first call. */
  begin(index: number, status: 'invoking' | 'compensating'): void {
    const { step, result, error } = this.step(index)
    const known = { ...(result !== undefined && { result }), ...(error !== undefined && { error }) }
    this.#steps[index] = { step, status, attempts: 0, ...known }
    this.call(index, 1)
  }

  /** Asks for a call of the open operation. */
  call(index: number, attempt: number): void {
    const { remote, timeoutMs, name } = this.shapeOf(index)
    this.set(index, { wait: remote ? 'reply' : 'call', attempts: attempt })
    const operation = this.operation(index)
    this.#calls.push({ index, step: name, operation, attempt })
    this.wake = remote ? { kind: 'in', ms: timeoutMs } : { kind: 'lease' }
    this.note(operation === 'invoke' ? 'invoking' : 'compensating', index, { attempt })
  }

  /** An attempt ended without a certain outcome; of a transactional step certainly nothing is left. */
  doubt(index: number, error: StepFailure): void {
    this.set(index, this.shapeOf(index).transactional ? { error } : { error, doubt: true })
  }

  /** Ends the open operation. */
  close(index: number, status: StepState['status'], fields: Partial<StepState> = {}): void {
    const { wait: _, doubt: __, orphans: ___, ...rest } = this.step(index)
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
