/** An execution of a service or a script: its parameters, its retries, its result. */
import { DAY } from 'concordat/core'
import { toError } from 'concordat/extension'
import { verdictOfCall } from './execution-verdicts.ts'
import { isA, networkFailure, type Thrown } from './java-exceptions.ts'
import type { RetryRule, TaskState } from './machine-types.ts'
import type { StepResults, Suspended, TaskResult } from './replayed-step-results.ts'

/** The branches that a machine adds to the saga. */
export const BRANCHES = { task: 'task', pause: 'pause', recovery: 'recovery', outcome: 'outcome' } as const

/** Payload of a task's row. */
export interface TaskPayload {
  /** Name of the function. */
  readonly calls: string
  /** The step whose key the call uses: the same for each retry, and for its compensation. */
  readonly key: string
  readonly undoes: boolean
  readonly params: readonly unknown[]
}

/** The values of `Input`, including the business key. */
export interface Parameters {
  readonly values: readonly unknown[]
  readonly sequence: string | undefined
}

/**
 * @throws the error of an expression
 */
export function parametersOf(state: TaskState, root: unknown, sequence: string): Parameters {
  let used: string | undefined
  const next = (): string => (used = sequence)
  const values = state.input.map((value) => value(root, next) ?? null)
  return { values, sequence: used }
}

/** The values of `Output`, without null ones. @throws the error of an expression */
export function outputOf(state: TaskState, value: unknown): Record<string, unknown> {
  if (value === undefined || value === null) return {}
  const never = (): never => {
    throw new TypeError('a sequence is no output')
  }
  const entries = state.output.map(([name, output]) => [name, output(value, never)] as const)
  return Object.fromEntries(entries.filter(([, output]) => output !== null && output !== undefined))
}

/** Result of an execution with all its calls. */
export interface CallsResult extends TaskResult {
  /** A call before the last one may have taken effect: it failed after it was sent, or its process ended. */
  readonly inDoubt: boolean
}

/** Calls the function, with retries by its rules. The pauses are rows too. */
export function* called(
  rows: StepResults,
  row: string,
  state: TaskState,
  payload: TaskPayload,
): Suspended<CallsResult> {
  const counts = new Map<RetryRule, number>()
  let inDoubt = false
  for (let attempt = 0; ; attempt++) {
    const name = attempt === 0 ? row : `${row} retry ${attempt}`
    const result = taskResult(yield* rows.done(name, BRANCHES.task, payload))
    inDoubt ||= rows.isInDoubt(name)
    if (state.isAsync) return { inDoubt }
    const rule = result.thrown && ruleFor(state.retry, result.thrown)
    const made = rule === undefined ? 0 : (counts.get(rule) ?? 0)
    if (rule === undefined || made >= rule.maxAttempts) return { ...result, inDoubt }
    inDoubt ||= verdictOfCall(state, result.value, result.thrown) !== 'FA'
    counts.set(rule, made + 1)
    const ms = pauseMs(rule, made)
    if (ms > 0) yield* rows.done(`${row} pause ${attempt + 1}`, BRANCHES.pause, { ms })
  }
}

/** The value that an operator gave a skipped task. */
function taskResult(result: unknown): TaskResult {
  if (typeof result === 'object' && result !== null && ('value' in result || 'thrown' in result))
    return result as TaskResult
  return result === undefined || result === null || Object.keys(Object(result)).length === 0 ? {} : { value: result }
}

function ruleFor(rules: readonly RetryRule[], thrown: Thrown): RetryRule | undefined {
  return rules.find(({ exceptions }) =>
    exceptions === undefined || exceptions.length === 0
      ? networkFailure(thrown) !== undefined
      : exceptions.some((name) => isA(thrown, name)),
  )
}

/** 10,000 years of 365 days: PostgreSQL can still add it to the present time. */
const MAX_PAUSE_MS = 10_000 * 365 * DAY

/**
 * Pause before the next retry, after `made` retries of this rule. It grows linearly, not exponentially, up to `MAX_PAUSE_MS`.
 */
function pauseMs({ intervalMs, backoffRate }: RetryRule, made: number): number {
  return Math.min(Math.round(made === 0 ? intervalMs : intervalMs * backoffRate * made), MAX_PAUSE_MS)
}

export function messageOf(error: unknown): string {
  return toError(error).message
}
