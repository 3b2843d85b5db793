/** Actions of an operator on sagas, and their checks. */
import { SECOND } from 'concordat/core'
import { invalidOption, optionNames, refuseUnknown, requireInteger, requireText } from 'concordat/extension'
import { requireNote, requireTarget } from 'concordat/operator'
import type { OperatorNote } from 'concordat/saga/coordinator'
import type { OperatorAction } from '../engine-types.ts'
import { checkFilter, FILTER_NAMES, type SagaFilter } from './saga-list.ts'

/** Time limit for an instance to apply an action. */
export interface SagaWait {
  /** In ms; after it the action stays in the row, `waiting`. @default 5 seconds */
  readonly waitMs?: number | undefined
}

/** State of the saga when the action was decided. @default its state when the action is called */
export interface SagaSeen {
  /** The stuck step; refused if the saga is stuck on another one by then. */
  readonly step?: string | undefined
  /** `timesStuck` of its view; refused if it has continued since, and is stuck again. */
  readonly timesStuck?: number | undefined
}

/** A saga that a dry run chose, in the state that the operator was shown. */
export interface ChosenSaga extends SagaSeen {
  readonly saga: string
  readonly id: string
}

/** An action on all matching sagas, each checked again when it is done. */
export interface SagaBulk extends OperatorNote, SagaWait {
  readonly action: 'retry' | 'skip' | 'compensate' | 'cancel' | 'resolve'
  /** Outcome, for `resolve`. */
  readonly outcome?: 'completed' | 'compensated' | undefined
  /** Sagas in a status that the action does not apply to are skipped. */
  readonly filter: Omit<SagaFilter, 'status'>
  /**
   * `chosen` of a dry run: acts on no other saga, and refuses one that has become stuck on another failure since. @default all
   */
  readonly among?: readonly ChosenSaga[] | undefined
  /** Lists the effect and changes nothing. @default true */
  readonly dryRun?: boolean | undefined
  /** Oldest first; at most 1 000. @default 100 */
  readonly limit?: number | undefined
}

const WAIT_MS = 5 * SECOND
const MAX_BULK = 1_000
const BULK_NAMES = optionNames<SagaBulk>({
  by: true,
  reason: true,
  waitMs: true,
  action: true,
  outcome: true,
  filter: true,
  among: true,
  dryRun: true,
  limit: true,
})
const BULK_FILTER_NAMES = new Set(Object.keys(FILTER_NAMES).filter((name) => name !== 'status'))
const ACTIONS: readonly string[] = ['retry', 'skip', 'compensate', 'cancel', 'resolve']

/** @throws TypeError, RangeError */
export function seenOf(path: string, { step, timesStuck }: SagaSeen): SagaSeen {
  return {
    step: step === undefined ? undefined : requireText(`${path}.step`, step),
    timesStuck: timesStuck === undefined ? undefined : requireInteger(`${path}.timesStuck`, timesStuck, 0),
  }
}

/** Key of a saga in a map: names and ids contain no NUL. */
export const keyOf = ({ saga, id }: ChosenSaga): string => `${saga}\0${id}`

/** @throws RangeError, TypeError */
export function waitOf(path: string, { waitMs }: SagaWait): number {
  return requireInteger(`${path}.waitMs`, waitMs ?? WAIT_MS, 0, 600 * SECOND)
}

/** @throws TypeError */
export function requireOutcome(path: string, outcome: unknown): 'completed' | 'compensated' {
  if (outcome === 'completed' || outcome === 'compensated') return outcome
  throw invalidOption(path, outcome, "'completed' or 'compensated'")
}

interface CheckedBulk extends OperatorNote {
  readonly action: OperatorAction
  readonly filter: SagaFilter
  readonly among: readonly ChosenSaga[] | undefined
  readonly dryRun: boolean
  readonly limit: number
  readonly waitMs: number
}

/** @throws TypeError, RangeError */
export function checkBulk(order: SagaBulk): CheckedBulk {
  refuseUnknown('sagas.bulk', order, BULK_NAMES)
  const { by, reason } = requireNote('sagas.bulk', order)
  refuseUnknown('sagas.bulk.filter', order.filter, BULK_FILTER_NAMES)
  checkFilter('sagas.bulk.filter', order.filter)
  if (!ACTIONS.includes(order.action))
    throw invalidOption('sagas.bulk.action', order.action, `one of ${ACTIONS.join(', ')}`)
  const among = order.among && checkChosen(order.among)
  const action: OperatorAction =
    order.action === 'resolve'
      ? { do: 'resolve', outcome: requireOutcome('sagas.bulk.outcome', order.outcome) }
      : { do: order.action }
  return {
    action,
    by,
    reason,
    filter: order.filter,
    among,
    // Only an explicit false changes anything.
    dryRun: order.dryRun !== false,
    limit: requireInteger('sagas.bulk.limit', order.limit ?? Math.max(100, among?.length ?? 0), 1, MAX_BULK),
    waitMs: waitOf('sagas.bulk', order),
  }
}

/** @throws TypeError, RangeError */
function checkChosen(among: readonly ChosenSaga[]): readonly ChosenSaga[] {
  if (!Array.isArray(among) || among.length > MAX_BULK)
    throw invalidOption('sagas.bulk.among', among, `at most ${MAX_BULK} sagas, as a dry run chose them`)
  return among.map((each: ChosenSaga, n) => {
    const path = `sagas.bulk.among[${n}]`
    const { name, id } = requireTarget(path, each)
    if (`${name}${id}`.includes('\0')) throw invalidOption(path, each, 'names without NUL')
    return { saga: name, id, ...seenOf(path, each) }
  })
}
