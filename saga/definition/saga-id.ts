/** Names of sagas and steps in rows, headers and keys. */
import { invalidOption } from '../../core/errors.ts'

// oxlint-disable-next-line no-control-regex -- control characters are what is looked for
const CONTROL = /[\u0000-\u001f\u007f]/

/** Tells whether a saga's id can be used as a message key and in headers. */
export function isSagaId(id: unknown): id is string {
  const isShort = typeof id === 'string' && id.length >= 1 && id.length <= 200
  return isShort && id.isWellFormed() && !CONTROL.test(id)
}

/** @throws TypeError */
export function requireSagaId(path: string, id: unknown): string {
  if (isSagaId(id)) return id
  throw invalidOption(path, id, 'a string of 1 to 200 characters in UTF-8, without control characters')
}

/** Returns `<saga>/<id>/<step>`, which is unambiguous because names contain no slash. */
export function stepKey(saga: string, id: string, step: string): string {
  return `${saga}/${id}/${step}`
}
