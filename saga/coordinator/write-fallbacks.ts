/**
 * Handles an event whose write can never succeed: a command over the outbox's limit, text that the database's encoding lacks, a
 * state over the limit of `jsonb`. Repeating the same write would call the previous step again and again.
 *
 * Each of these is tried once, in this order, until one can be written: 1. the text of the event's error in ASCII, when the
 * database rejects a text; 2. the calls that follow from the event fail: nothing of a first call was sent, so it is refused; 3. a
 * result that cannot be stored: its step had an effect that the saga cannot use, so the step fails and is undone; 4. the saga is
 * parked on its open steps, and `onStuck` is called.
 */
import { causesOf } from '../../core/errors.ts'
import { writeFault } from '../../core/write-fault.ts'
import type { SagaEvent } from '../machine/event.ts'
import type { StepFailure } from '../machine/state.ts'
import { describeError, storable } from './outcome-to-event.ts'
import type { Plan } from './write-plan.ts'

/** True when the same write fails whenever it is made. */
export function isUnwritable(error: unknown): boolean {
  return writeFault(error) === 'permanent'
}

/** Events whose sender receives the error when they cannot be written. */
const TOLD: ReadonlySet<SagaEvent['type']> = new Set(['signalled', 'operator', 'branched'])

/** Tries each way of writing an event once. */
export class WriteFallbacks {
  /** The event to write now. */
  event: SagaEvent
  /** Calls that are not made, by `callKey`, with the reason. */
  readonly refusals = new Map<string, StepFailure>()
  readonly #parks: boolean
  #isParked = false

  /** @param parks no sender waits for the error: park the saga as the last resort */
  constructor(event: SagaEvent, parks: boolean) {
    this.event = event
    this.#parks = parks || !TOLD.has(event.type)
  }

  /** Tells whether only the event itself cannot be written, and its sender receives the error, so no other write is affected. */
  isSenders(error: unknown): boolean {
    return !this.#parks && isUnwritable(error)
  }

  /** Selects the next way after this one failed. False: there is none, and the caller receives the error. */
  next(error: unknown, plan: Plan): boolean {
    if (this.#isParked || !isUnwritable(error)) return false
    const failure = storable(describeError(error))
    if (isAboutText(error) && this.#inAscii()) return true
    const asked = plan.callKeys.filter((call) => !this.refusals.has(call))
    for (const call of asked) this.refusals.set(call, failure)
    if (asked.length > 0) return true
    if (this.#inAscii() || this.#withoutResult(failure)) return true
    if (!this.#parks) return false
    this.#replace({ type: 'unwritable', error: failure, ...('step' in this.event && { step: this.event.step }) })
    this.#isParked = true
    return true
  }

  #inAscii(): boolean {
    const { event } = this
    if (event.type !== 'failed' && event.type !== 'refused') return false
    const error = storable(event.error)
    if (error.code === event.error.code && error.message === event.error.message) return false
    this.#replace({ ...event, error })
    return true
  }

  #withoutResult(error: StepFailure): boolean {
    const { event } = this
    if (event.type !== 'succeeded' || event.result === undefined) return false
    const { step, operation, branches } = event
    this.#replace({ type: 'failed', step, operation, error, terminal: true, branches })
    return true
  }

  #replace(event: SagaEvent): void {
    this.event = event
    this.refusals.clear()
  }
}

/** SQLSTATE class 22: data that the database does not accept. */
function isAboutText(error: unknown): boolean {
  return causesOf(error).some(
    (cause) => 'code' in cause && typeof cause.code === 'string' && /^22...$/.test(cause.code),
  )
}
