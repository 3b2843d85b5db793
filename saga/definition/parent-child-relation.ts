/** Relation of a sub-saga and its parent, and the reports of the one to the other. */
import { derivedId } from '../../core/ids.ts'
import { isEnded, type SagaParent, type SagaState } from '../machine/state.ts'
import type { SagaKey, SagaRow } from '../store/store-types.ts'
import type { SagaReply } from '../wire/reply.ts'
import { resultsByName } from './results-by-name.ts'
import type { Saga } from './saga-definition-types.ts'
import { stepKey } from './saga-id.ts'

const MAX_ID = 200

/**
 * The keys that the saga of a step may have, newest first: its own, and behind it those of the runs before operators had the step
 * tried again. A run begins when all before it were compensated, so the newest one that exists is the step's.
 * @param round how often the step was tried again
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
  // No step of a definition has such a name.
  const id = round === 0 ? first : `${first}#${round}`
  return { name: child.name, id: id.length <= MAX_ID ? id : derivedId(id) }
}

/** True when the saga was begun as that step of that saga, and not of an earlier one with its id. */
export function isChildOf(parent: SagaParent | undefined, of: Omit<SagaParent, 'operation'>): boolean {
  return parent?.name === of.name && parent.id === of.id && parent.step === of.step && parent.birth === of.birth
}

/** The step of the parent, as a reply names it. */
export function addressOf({ name, id, step, operation, birth }: SagaParent): Omit<SagaReply, 'status'> {
  return { saga: name, sagaId: id, step, operation, birth }
}

/**
 * State of a saga that has ended while this mail waited. If its parent ordered it to undo, a compensated saga has done so, and that
 * is what the parent waits to hear. A completed one is undone afterwards.
 */
export function endedWith(mail: SagaRow['mail'], state: SagaState): SagaState {
  const { parent, status } = state
  if (parent === undefined || status !== 'compensated' || mail?.some((item) => 'undo' in item) !== true) return state
  return { ...state, parent: { ...parent, operation: 'compensate' } }
}

/** Report to the parent about this state; `undefined` without one. */
export function reportToParent(state: SagaState): SagaReply | undefined {
  const { parent, status } = state
  if (parent === undefined || !isEnded(status)) return undefined
  return { ...addressOf(parent), ...ANSWERS[parent.operation](state) }
}

type Answer = Omit<SagaReply, keyof ReturnType<typeof addressOf>> & Pick<SagaReply, 'status'>

/** Meaning of a saga's end for a parent that waits for this operation. */
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
