import type { Headers } from '../../binder/channel/message.ts'
import { currentSaga } from './current-saga.ts'
import { HEADERS } from './wire.ts'

/**
 * The name and id of the saga and the step that the calling code is part of, as headers (`SAGA_HEADERS`); `undefined` outside
 * of a saga. For all that steps and participants send: `createOutbox({ headers: () => sagaHeaders() })`, or the same of
 * `createBinder`.
 */
export function sagaHeaders(): Headers | undefined {
  const scope = currentSaga()
  if (scope === undefined) return undefined
  return { [HEADERS.saga]: scope.saga, [HEADERS.id]: scope.sagaId, [HEADERS.step]: scope.step }
}
