import type { TransitionDraft } from './transition-draft.ts'

export function endSaga(draft: TransitionDraft, status: 'completed' | 'compensated'): true {
  draft.status = status
  if (status === 'completed') draft.failure = undefined
  draft.note(status === 'completed' ? 'saga-completed' : 'saga-compensated')
  return true
}
