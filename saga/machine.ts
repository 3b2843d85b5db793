/**
 * The saga machine: (shape, state, event) -> the next state, the calls to make and when to look again. Pure: no I/O, no
 * clock; randomness comes in as a number. The coordinator is a loop around `advance`.
 *
 * ```
 *              refused, given up before the pivot
 *   running ---------------------------------------> compensating ---> compensated
 *      |  \                                             |     ^
 *      |   `-- given up at or after the pivot           |     | operator: retry, skip
 *      v                \                given up       v     |
 *   completed            `---------------------------> stuck -' ---> (operator: resolve)
 * ```
 *
 * Rules it keeps whatever comes in, in any order and any number of times:
 * - a step is called only in a state that records the intent, and that state is written before the call is made;
 * - a compensation follows only an intent: `invoked` and `unknown` steps are undone, in reverse order, each once;
 * - a refusal is a definite no of that step: it is not undone, unless an earlier local attempt is in doubt;
 * - after the pivot there is only forward; a pivot in doubt is never undone, it is parked;
 * - an event that does not fit the state (late, repeated, reordered) changes nothing: `advance` answers `undefined`.
 *
 * @see Hector Garcia-Molina and Kenneth Salem, "Sagas" (1987); Chris Richardson on compensatable, pivot, retriable steps
 */
import { backoffDelayMs } from '../core/backoff.ts'
import type { OperatorAction, SagaEvent, TimelineEntry } from './event.ts'
import {
  type Call,
  isEnded,
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

/**
 * The next state, or `undefined` when the event means nothing in this state.
 * @param random in [0, 1): spreads the retries
 */
export function advance(
  shape: SagaShape,
  state: SagaState,
  event: SagaEvent,
  random: number = 0,
): Transition | undefined {
  if (isEnded(state.status)) return undefined
  const machine = new Machine(shape, state, random)
  return machine.accept(event) ? machine.result() : undefined
}

const NEVER: Wake = { kind: 'never' }
/** A step that took its process down so often is given up. */
const MAX_ORPHANS = 50
const TIMEOUT: StepFailure = { code: 'saga.no_reply', message: 'no reply came in time' }
const ORPHANED: StepFailure = { code: 'saga.orphaned', message: 'the coordinator that ran the step is gone' }

/** One use: applies one event to a copy of the state. */
class Machine {
  readonly #shape: SagaShape
  readonly #random: number
  readonly #steps: StepState[]
  readonly #pivot: number
  readonly #calls: Call[] = []
  readonly #timeline: TimelineEntry[] = []
  #status: SagaStatus
  #failure: SagaFailure | undefined
  #wake: Wake = NEVER

  constructor(shape: SagaShape, state: SagaState, random: number) {
    this.#shape = shape
    this.#random = random
    this.#steps = [...state.steps]
    this.#pivot = shape.steps.findIndex((step) => step.pivot)
    this.#status = state.status
    this.#failure = state.failure
  }

  result(): Transition {
    const state = { status: this.#status, steps: this.#steps, ...(this.#failure && { failure: this.#failure }) }
    return { state, calls: this.#calls, wake: this.#wake, timeline: this.#timeline }
  }

  /** False: the event does not fit. */
  accept(event: SagaEvent): boolean {
    switch (event.type) {
      case 'started':
        return this.#start()
      case 'due':
        return this.#due()
      case 'resumed':
        return this.#resumed()
      case 'yielded':
        return this.#yielded(event.step)
      case 'succeeded':
        return this.#succeeded(event.step, event.operation, event.result)
      case 'refused':
        return this.#refused(event.step, event.operation, event.error)
      case 'failed':
        return this.#failed(event)
      case 'operator':
        return this.#operator(event.action, event.by, event.reason)
    }
  }

  #start(): boolean {
    if (this.#status !== 'running' || this.#steps.some(({ status }) => status !== 'pending')) return false
    this.#note('started')
    this.#forward()
    return true
  }

  /** The time to look again has come. What it means depends on what was waited for. */
  #due(): boolean {
    const index = this.#openIndex()
    if (index === -1) return this.#start()
    const { wait, attempts } = this.#step(index)
    if (wait === undefined || wait === 'operator') return false
    if (wait === 'call') return this.#orphaned(index)
    if (wait === 'reply') {
      this.#note('timed-out', index, { attempt: attempts })
      this.#doubt(index, TIMEOUT)
      if (attempts >= this.#policy(index).maxAttempts) return this.#giveUp(index, TIMEOUT)
    }
    this.#call(index, attempts + 1)
    return true
  }

  /** Whoever ran the step is gone: the same attempt again, for a crash says little of the step. */
  #orphaned(index: number): boolean {
    const { attempts, orphans = 0 } = this.#step(index)
    this.#note('orphaned', index, { attempt: attempts })
    this.#doubt(index, ORPHANED)
    this.#set(index, { orphans: orphans + 1 })
    if (orphans + 1 >= MAX_ORPHANS) return this.#giveUp(index, ORPHANED)
    this.#call(index, attempts)
    return true
  }

  #resumed(): boolean {
    const index = this.#openIndex()
    if (index === -1 || this.#step(index).wait !== 'reply') return false
    this.#call(index, this.#step(index).attempts)
    return true
  }

  /** The call was planned but this process will not make it: as if the attempt had not been counted. */
  #yielded(step: string): boolean {
    const index = this.#openIndex()
    if (index === -1 || this.#step(index).step !== step || this.#step(index).wait !== 'call') return false
    this.#set(index, { wait: 'retry', attempts: this.#step(index).attempts - 1 })
    this.#wake = { kind: 'in', ms: 0 }
    return true
  }

  #succeeded(step: string, operation: Operation, result: unknown): boolean {
    const index = this.#open(step, operation)
    if (index === -1) return false
    this.#resume(index)
    if (operation === 'invoke') {
      this.#close(index, 'invoked', result === undefined ? {} : { result })
      this.#note('invoked', index)
      this.#forward()
    } else {
      this.#close(index, 'compensated')
      this.#note('compensated', index)
      this.#backward()
    }
    return true
  }

  #refused(step: string, operation: Operation, error: StepFailure): boolean {
    const index = this.#open(step, operation)
    if (index === -1) return false
    const parked = this.#step(index).wait === 'operator'
    if (operation === 'compensate' || this.#afterPivot(index)) {
      if (parked) return false
      this.#note('refused', index, { code: error.code, message: error.message })
      return this.#park(index, error)
    }
    this.#note('refused', index, { code: error.code, message: error.message })
    const { remote, pivot } = this.#stepShape(index)
    const inDoubt = this.#step(index).doubt === true && !remote
    if (inDoubt && pivot) return this.#park(index, error)
    this.#close(index, inDoubt ? 'unknown' : 'refused', { error })
    this.#turnBack(index, error)
    return true
  }

  #failed(event: Extract<SagaEvent, { type: 'failed' }>): boolean {
    const index = this.#open(event.step, event.operation)
    if (index === -1) return false
    const { attempts, wait } = this.#step(index)
    if (wait !== 'call' && wait !== 'reply') return false
    if (!event.terminal && event.attempt !== undefined && event.attempt !== attempts) return false
    const { code, message } = event.error
    this.#note('failed', index, { attempt: attempts, code, message })
    this.#doubt(index, event.error)
    const policy = this.#policy(index)
    if (event.terminal || attempts >= policy.maxAttempts) return this.#giveUp(index, event.error)
    this.#set(index, { wait: 'retry' })
    this.#wake = { kind: 'in', ms: backoffDelayMs(policy.backoff, attempts, this.#random) }
    return true
  }

  #operator(action: OperatorAction, by: string, reason: string): boolean {
    const index = this.#openIndex()
    if (this.#status !== 'stuck' || index === -1) return false
    const invoking = this.#step(index).status === 'invoking'
    if (action.do === 'compensate' && (!invoking || this.#afterPivot(index))) return false
    this.#note(`operator-${action.do}`, index, { by, reason })
    if (action.do === 'resolve') return this.#end(action.outcome)
    this.#resume(index)
    if (action.do === 'retry') {
      this.#call(index, 1)
    } else if (action.do === 'compensate') {
      const error = this.#step(index).error ?? { code: 'saga.operator', message: reason }
      this.#close(index, 'skipped')
      this.#turnBack(index, error)
    } else {
      this.#close(index, 'skipped', action.result === undefined ? {} : { result: action.result })
      if (invoking) this.#forward()
      else this.#backward()
    }
    return true
  }

  /** A stuck saga goes on in the direction it had. */
  #resume(index: number): void {
    if (this.#status !== 'stuck') return
    this.#status = this.#operation(index) === 'invoke' ? 'running' : 'compensating'
    if (this.#status === 'running') this.#failure = undefined
  }

  /** Begins the next step, or completes. */
  #forward(): void {
    const next = this.#steps.findIndex(({ status }) => status === 'pending')
    if (next === -1) this.#end('completed')
    else this.#begin(next, 'invoking')
  }

  /** Begins the next compensation, last step first, or ends. */
  #backward(): void {
    for (let index = this.#steps.length - 1; index >= 0; index--) {
      const { status } = this.#step(index)
      if ((status === 'invoked' || status === 'unknown') && this.#stepShape(index).compensates) {
        this.#begin(index, 'compensating')
        return
      }
    }
    this.#end('compensated')
  }

  #turnBack(index: number, error: StepFailure): void {
    this.#failure = { step: this.#step(index).step, ...error }
    this.#status = 'compensating'
    this.#backward()
  }

  /** No more attempts. */
  #giveUp(index: number, error: StepFailure): true {
    const { pivot, transactional } = this.#stepShape(index)
    const invoking = this.#step(index).status === 'invoking'
    if (!invoking || this.#afterPivot(index) || (pivot && !transactional)) return this.#park(index, error)
    this.#close(index, transactional ? 'failed' : 'unknown', { error })
    this.#turnBack(index, error)
    return true
  }

  #park(index: number, error: StepFailure): true {
    this.#set(index, { wait: 'operator', error })
    this.#failure ??= { step: this.#step(index).step, ...error }
    this.#status = 'stuck'
    this.#note('stuck', index, { operation: this.#operation(index), code: error.code, message: error.message })
    return true
  }

  #end(status: 'completed' | 'compensated'): true {
    this.#status = status
    if (status === 'completed') this.#failure = undefined
    this.#note(status === 'completed' ? 'saga-completed' : 'saga-compensated')
    return true
  }

  #begin(index: number, status: 'invoking' | 'compensating'): void {
    const { step, result, error } = this.#step(index)
    this.#steps[index] = {
      step,
      status,
      attempts: 0,
      ...(result !== undefined && { result }),
      ...(error !== undefined && { error }),
    }
    this.#call(index, 1)
  }

  #call(index: number, attempt: number): void {
    const { remote, timeoutMs, name } = this.#stepShape(index)
    this.#set(index, { wait: remote ? 'reply' : 'call', attempts: attempt })
    const operation = this.#operation(index)
    this.#calls.push({ index, step: name, operation, attempt })
    this.#wake = remote ? { kind: 'in', ms: timeoutMs } : { kind: 'lease' }
    this.#note(operation === 'invoke' ? 'invoking' : 'compensating', index, { attempt })
  }

  #doubt(index: number, error: StepFailure): void {
    this.#set(index, this.#stepShape(index).transactional ? { error } : { error, doubt: true })
  }

  #close(index: number, status: StepState['status'], fields: Partial<StepState> = {}): void {
    const { wait: _, doubt: __, orphans: ___, ...rest } = this.#step(index)
    this.#steps[index] = { ...rest, ...fields, status }
  }

  #set(index: number, fields: Partial<StepState>): void {
    this.#steps[index] = { ...this.#step(index), ...fields }
  }

  #note(kind: TimelineEntry['kind'], index?: number, detail?: TimelineEntry['detail']): void {
    const step = index === undefined ? undefined : this.#step(index).step
    this.#timeline.push({ kind, ...(step !== undefined && { step }), ...(detail !== undefined && { detail }) })
  }

  #openIndex(): number {
    return openStep({ status: this.#status, steps: this.#steps })
  }

  /** The index of `step` when exactly this operation of it is open, else -1. */
  #open(step: string, operation: Operation): number {
    return this.#steps.findIndex((state) => state.step === step && operationOf(state) === operation)
  }

  #afterPivot(index: number): boolean {
    return this.#pivot !== -1 && index > this.#pivot
  }

  #operation(index: number): Operation {
    return this.#step(index).status === 'compensating' ? 'compensate' : 'invoke'
  }

  #policy(index: number): RetryPolicy {
    return this.#stepShape(index)[this.#operation(index)]
  }

  #step(index: number): StepState {
    return this.#steps[index] as StepState
  }

  #stepShape(index: number): StepShape {
    return this.#shape.steps[index] as StepShape
  }
}
