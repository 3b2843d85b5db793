/** State of an instance in its candidacy, as one value that contains a term only where it applies. */
import type { ElectionHealth, ElectionState } from './election.ts'
import type { LedTerm } from './term.ts'

/**
 * Phase of a candidacy:
 * - `leading`: a term that has ended by the clocks is not led, even before a timer has fired.
 * - `stepping_down`: its handlers are awaited; `isStuck` when one has not returned in time, and the lease is released.
 * - `closed`: with the term of a handler that has not returned, if there is one.
 */
export type Phase =
  | { readonly state: 'idle' | 'campaigning'; readonly term?: undefined }
  | { readonly state: 'leading'; readonly term: LedTerm }
  | { readonly state: 'stepping_down'; readonly term: LedTerm; readonly isStuck: boolean }
  | { readonly state: 'closed'; readonly term?: LedTerm | undefined }

export const IDLE: Phase = Object.freeze({ state: 'idle' })
export const CAMPAIGNING: Phase = Object.freeze({ state: 'campaigning' })
export const CLOSED: Phase = Object.freeze({ state: 'closed' })

/** Returns the term of a handler that has outlived it. */
export function stuckTerm(phase: Phase): LedTerm | undefined {
  if (phase.state === 'closed') return phase.term
  return phase.state === 'stepping_down' && phase.isStuck ? phase.term : undefined
}

/** Returns the final phase; handlers that have not returned are not awaited. */
export function closed(phase: Phase): Phase {
  const term = stuckTerm(phase)
  return term === undefined ? CLOSED : { state: 'closed', term }
}

/** Called when all handlers of the term have returned. */
export function woundDown(phase: Phase): Phase {
  return phase.state === 'closed' ? CLOSED : CAMPAIGNING
}

/** Returns the public state: a term that has ended by the clocks is not led. */
export function seenAs(phase: Phase): ElectionState {
  return isOverdue(phase) ? 'stepping_down' : phase.state
}

/** @param error reason why campaigning does not work at the moment */
export function healthOf(phase: Phase, error: string | undefined): ElectionHealth {
  const { state, term } = phase
  if (state === 'idle' || state === 'closed') return { status: state }
  if (stuckTerm(phase) !== undefined) {
    return { status: 'down', detail: `a handler of term ${term?.term} has not returned; no candidate until then` }
  }
  if (isOverdue(phase)) {
    const detail = `term ${term?.term} is over by the clocks, and the event loop is late to end it`
    return { status: 'down', detail }
  }
  return error === undefined ? { status: 'up' } : { status: 'down', detail: error }
}

function isOverdue(phase: Phase): boolean {
  return phase.state === 'leading' && !phase.term.isValid
}
