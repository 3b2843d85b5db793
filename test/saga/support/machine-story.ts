/** Runs of machines without a database: the next calls, their keys, and their outcomes. */

import { importStateMachine, type StateExecution, type StateMachineOutcome } from '@concordat/state-language'
import { done, given } from 'concordat/testing'
import type { SagaEvent, Story } from '../../support/inside/saga.ts'
import { Shop, services } from './machines.ts'

export const THROWN = { thrown: { names: ['Error'], message: 'broken' } } as const

/** The course of a machine whose services are called `a` and `b`, with these start parameters. */
export function storyOf(json: unknown, params: object = {}, machines: readonly unknown[] = []): Story {
  const saga = importStateMachine(json, { services: services(new Shop(), 'a', 'b'), machines })
  return given(saga).when({ type: 'planned', step: 'machine', items: [{ params, key: 'm/x' }] })
}

/** The task has returned this. */
export function returned(step: string, value: unknown = true): SagaEvent {
  return done(step, { value })
}

export function threw(step: string): SagaEvent {
  return done(step, THROWN)
}

export function ordered(action: 'retry' | 'compensate' | 'skip'): SagaEvent {
  return { type: 'operator', action: { do: action }, by: 'ann', reason: 'looked at it' }
}

/** Started tasks: `A`, and `A.1 as A` for one that is called under the key of another. */
export function tasks({ state }: Story): readonly string[] {
  return state.steps.flatMap(({ step, branch, payload }) => {
    const { key } = (payload ?? {}) as { readonly key?: string }
    return branch !== 'task' ? [] : [key === step ? step : `${step} as ${key}`]
  })
}

export function outcomeOf({ state }: Story): StateMachineOutcome {
  return state.steps.find(({ step }) => step === 'outcome')?.result as StateMachineOutcome
}

/** Outcome: the saga's status, that of the machine, that of its compensations. */
export function endOf(story: Story): readonly unknown[] {
  const { status, compensationStatus } = outcomeOf(story)
  return compensationStatus === undefined ? [story.status, status] : [story.status, status, compensationStatus]
}

/** `A UN (again), A SU`. */
export function executions(story: Story): string {
  const named = ({ name, status, isSuperseded }: StateExecution) => `${name} ${status}${isSuperseded ? ' (again)' : ''}`
  return outcomeOf(story).states.map(named).join(', ')
}
