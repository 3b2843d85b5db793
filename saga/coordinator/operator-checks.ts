/** Checks the arguments of operators: filter, saga, name and reason, and whether the saga's state allows the action. */
import { DAY } from '../../core/clock.ts'
import { invalidOption, requireInteger, requireStorable, requireText } from '../../core/errors.ts'
import { optionNames, refuseUnknown, wrongKind } from '../../core/option-checks.ts'
import type { OperatorAction, SeenStuck } from '../machine/event.ts'
import { operationIn } from '../machine/operation.ts'
import { actedOn, type SagaState, type SagaStatus } from '../machine/state.ts'
import type { ListFilter, ResolvedFilter, SagaKey } from '../store/store-types.ts'

/** Identifies a saga. A `SagaRun` or a line of `list()` can be passed. */
export type SagaTarget = { readonly saga: string; readonly id: string } | { readonly name: string; readonly id: string }

/** Operator and reason; the timeline stores both. */
export interface OperatorNote {
  /** The operator: a person, or a program that acts for one. */
  readonly by: string
  /** Reason, at most 10 000 characters, as for `by`. */
  readonly reason: string
}

const LIST_NAMES = optionNames<ListFilter>({
  status: true,
  saga: true,
  version: true,
  code: true,
  startedAfter: true,
  startedBefore: true,
  after: true,
  limit: true,
})
const STATUSES: Readonly<Record<SagaStatus, true>> = {
  running: true,
  compensating: true,
  completed: true,
  compensated: true,
  stuck: true,
}
const DEFAULT_LIMIT = 100
const MAX_NOTE = 10_000

/** First moment that both PostgreSQL's timestamps and `Date` can represent, in our era. */
const FIRST_MOMENT = Date.UTC(2000, 0, 1) - 730_119 * DAY
const LAST_MOMENT = 100_000_000 * DAY

function isMoment(at: unknown): boolean {
  return typeof at === 'number' && at >= FIRST_MOMENT && at <= LAST_MOMENT
}

const TURNS_BACK = 'it is turning back already, so this changed nothing'

/** Returns why an action does not apply to a saga in this state. */
export function whyRefused({ status, steps, cancel, timesStuck = 0 }: SagaState, action: OperatorAction): string {
  const open = status === 'stuck' ? steps[actedOn(steps)] : undefined
  if (open === undefined) return status === 'running' && cancel !== undefined ? TURNS_BACK : `it is ${status}`
  const operation = operationIn(open.status)
  const where = `it is stuck on ${operation} of step "${open.step}"`
  if (action.do === 'cancel') return where
  const seen = { step: action.step ?? open.step, operation: action.operation ?? operation }
  if (seen.step !== open.step || seen.operation !== operation)
    return `not applied, the saga has changed: ${where}, no longer on ${seen.operation} of step "${seen.step}"`
  if (action.timesStuck !== undefined && action.timesStuck !== timesStuck)
    return `not applied, the saga has changed: it went on, and ${where} again`
  if (action.do === 'skip' && action.result !== undefined)
    return operation === 'invoke'
      ? `${where}, which cannot have this result`
      : `${where}, and only an invoke has a result`
  return action.do === 'compensate' ? `${where}, not on its pivot` : where
}

/**
 * Ties the action to the failure on which the saga is stuck, or that the operator saw. If the saga has continued and is stuck
 * again when an instance reads the action, the action was not meant for the new failure, and is refused.
 */
export function pinned(
  action: OperatorAction,
  { status, steps, timesStuck = 0 }: Pick<SagaState, 'status' | 'steps' | 'timesStuck'>,
  seen: SeenStuck = {},
): OperatorAction {
  const open = status === 'stuck' ? steps[actedOn(steps)] : undefined
  if (open === undefined || action.do === 'cancel') return action
  const { step = open.step, timesStuck: times = timesStuck } = seen
  return { step, operation: operationIn(open.status), timesStuck: times, ...action }
}

/** @throws TypeError / RangeError naming the invalid field */
export function resolveFilter(filter: ListFilter): ResolvedFilter {
  refuseUnknown('list', filter, LIST_NAMES)
  const { status, saga, version, code, startedAfter, startedBefore, after, limit } = filter
  if (status !== undefined && !Object.hasOwn(STATUSES, status)) {
    throw invalidOption('list.status', status, "'running', 'compensating', 'completed', 'compensated' or 'stuck'")
  }
  if (saga !== undefined) requireText('list.saga', saga)
  if (version !== undefined) requireInteger('list.version', version, 1)
  if (code !== undefined) requireText('list.code', code)
  for (const [name, at] of Object.entries({ startedAfter, startedBefore })) {
    if (at !== undefined && !isMoment(at)) {
      throw invalidOption(`list.${name}`, at, 'a number of ms since 1970, from the year 1 to the year 275760')
    }
  }
  const isLine = typeof after?.name === 'string' && typeof after.id === 'string' && isMoment(after.createdAt)
  if (after !== undefined && !isLine) throw wrongKind('list.after', after, 'a line that list() returned')
  return { ...filter, limit: requireInteger('list.limit', limit ?? DEFAULT_LIMIT, 1, 10_000) }
}

/** @throws TypeError when it does not identify a saga */
export function requireTarget(action: string, target: SagaTarget): SagaKey {
  const { saga, name, id } = (target ?? {}) as { saga?: unknown; name?: unknown; id?: unknown }
  const of = saga ?? name
  if (typeof of === 'string' && typeof id === 'string') return { name: of, id }
  throw wrongKind(action, target, 'a saga: { saga, id }, what start() or a line of what list() returned')
}

/** @throws TypeError for text that PostgreSQL cannot store, RangeError for text that exceeds a line of the timeline */
export function requireTimelineText(path: string, value: unknown): string {
  const text = requireStorable(path, value)
  if (text.length > MAX_NOTE)
    throw new RangeError(`${path}: expected at most ${MAX_NOTE} characters, got ${text.length}`)
  return text
}

/** @throws TypeError without a name and a reason: an action that cannot be recorded is not performed */
export function requireNote(action: string, note: OperatorNote): OperatorNote {
  if (typeof note !== 'object' || note === null) throw wrongKind(action, note, 'who and why: { by, reason }')
  return {
    by: requireTimelineText(`${action}.by`, note.by),
    reason: requireTimelineText(`${action}.reason`, note.reason),
  }
}
