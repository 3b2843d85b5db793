/**
 * What becomes of an event whose write can never succeed: a command over the outbox's limit, a text that the database's encoding
 * lacks, a state over the limit of `jsonb`. Trying the same write again would call the step before it again and again.
 *
 * Each of these is tried once, in this order, until one can be written:
 * 1. the text of the event's error in ASCII, when the database objects to a text;
 * 2. the calls that the event leads to fail: of a first call certainly nothing was sent, so it is refused;
 * 3. a result that cannot be stored: its step did something, and the saga cannot use it, so the step fails and is undone;
 * 4. the saga is parked on its open steps, and `onStuck` is called.
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

/** Events whose sender is told when they cannot be written. */
const TOLD: ReadonlySet<SagaEvent['type']> = new Set(['signalled', 'operator', 'branched'])

/** The ways of writing one event, each tried once. */
export class WriteFallbacks {
  /** The event to write now. */
  event: SagaEvent
  /** Calls, by `callKey`, that are not made, and why. */
  readonly refusals = new Map<string, StepFailure>()
  readonly #parks: boolean
  #isParked = false

  /** @param parks there is no sender who could be told: park the saga in the end */
  constructor(event: SagaEvent, parks: boolean) {
    this.event = event
    this.#parks = parks || !TOLD.has(event.type)
  }

  /** The event itself cannot be written, and its sender, who gets the error, is told so: no other write is affected. */
  isSenders(error: unknown): boolean {
    return !this.#parks && isUnwritable(error)
  }

  /** Chooses the next way after this one failed. False: there is none, the error is the caller's. */
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

/** SQLSTATE class 22: data that the database cannot take. */
function isAboutText(error: unknown): boolean {
  return causesOf(error).some(
    (cause) => 'code' in cause && typeof cause.code === 'string' && /^22...$/.test(cause.code),
  )
}
