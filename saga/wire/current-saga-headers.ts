import type { Headers } from '../../binder/channel/message.ts'
import { currentSaga } from './current-saga.ts'
import { HEADERS } from './wire.ts'

/**
 * Returns the names and ids of the saga and step that the calling code is part of, as headers (`SAGA_HEADERS`); `undefined`
 * outside of a saga. Use it for all messages of steps and participants: `createOutbox({ headers: () => sagaHeaders() })`, and the
 * same option of `createBinder`.
 */
export function sagaHeaders(): Headers | undefined {
  const scope = currentSaga()
  if (scope === undefined) return undefined
  return { [HEADERS.saga]: scope.saga, [HEADERS.id]: scope.sagaId, [HEADERS.step]: scope.step }
}
