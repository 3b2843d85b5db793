/** Relation of a sub-saga to its parent, and the reports of the sub-saga. */
import { derivedId } from '../../core/ids.ts'
import { isEnded, type SagaParent, type SagaState } from '../machine/state.ts'
import type { SagaKey, SagaRow } from '../store/store-types.ts'
import type { SagaReply } from '../wire/reply.ts'
import { resultsByName } from './results-by-name.ts'
import type { Saga } from './saga-definition-types.ts'
import { stepKey } from './saga-id.ts'

const MAX_ID = 200

/**
 * Returns the keys that the sub-saga of a step may have, newest first: its own, then those of the runs before operators retried
 * the step. A run begins after all previous ones were compensated, so the newest one that exists belongs to the step.
 * @param round how many times the step was retried
 */
export function childKeys(
  parent: SagaKey,
  step: string,
  child: Saga,
  round: number,
): readonly [SagaKey, ...(readonly SagaKey[])] {
  const earlier = Array.from({ length: round }, (_, n) => childKey(parent, step, child, round - 1 - n))
  return [childKey(parent, step, child, round), ...earlier]
}

function childKey(parent: SagaKey, step: string, child: Saga, round: number): SagaKey {
  const first = stepKey(parent.name, parent.id, step)
  // No step of a definition can have such a name.
  const id = round === 0 ? first : `${first}#${round}`
  return { name: child.name, id: id.length <= MAX_ID ? id : derivedId(id) }
}

/** True when the saga was begun as that step of that saga, and not of an earlier saga with the same id. */
export function isChildOf(parent: SagaParent | undefined, of: Omit<SagaParent, 'operation'>): boolean {
  return parent?.name === of.name && parent.id === of.id && parent.step === of.step && parent.birth === of.birth
}

/** Returns the address of the parent's step, as a reply contains it. */
export function addressOf({ name, id, step, operation, birth }: SagaParent): Omit<SagaReply, 'status'> {
  return { saga: name, sagaId: id, step, operation, birth }
}

/**
 * Returns the state of a saga that ended while this mail waited. If the parent ordered it to undo, a compensated saga has done
 * so, which the parent waits for; a completed saga is undone afterwards.
 */
export function endedWith(mail: SagaRow['mail'], state: SagaState): SagaState {
  const { parent, status } = state
  if (parent === undefined || status !== 'compensated' || mail?.some((item) => 'undo' in item) !== true) return state
  return { ...state, parent: { ...parent, operation: 'compensate' } }
}

/** Returns the report to the parent about this state; `undefined` without a parent. */
export function reportToParent(state: SagaState): SagaReply | undefined {
  const { parent, status } = state
  if (parent === undefined || !isEnded(status)) return undefined
  return { ...addressOf(parent), ...ANSWERS[parent.operation](state) }
}

type Answer = Omit<SagaReply, keyof ReturnType<typeof addressOf>> & Pick<SagaReply, 'status'>

/** Reply to a parent that waits for this operation, from the end of the sub-saga. */
const ANSWERS: Readonly<Record<SagaParent['operation'], (ended: SagaState) => Answer>> = {
  invoke: ({ status, steps, failure }) => {
    if (status === 'completed') {
      return { status: 'ok', result: resultsByName(steps) }
    }
    const { code = 'saga.compensated', message = 'it was compensated' } = failure ?? {}
    return { status: 'refused', code, message }
  },
  compensate: ({ status }) => {
    if (status === 'compensated') return { status: 'ok' }
    return { status: 'failed', final: true, code: 'saga.completed', message: 'an operator ended it as completed' }
  },
}
