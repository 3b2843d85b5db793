/** Checks credentials before a broker is asked: unusable ones would look like an unavailable broker. */
import { invalidOption } from '../../../core/errors.ts'
import { requireFunction, wrongKind } from '../../../core/option-checks.ts'

/** Required fields of each mechanism. */
const CREDENTIALS = {
  PLAIN: ['username', 'password'],
  'SCRAM-SHA-256': ['username', 'password'],
  'SCRAM-SHA-512': ['username', 'password'],
  OAUTHBEARER: ['token'],
} as const
const MECHANISMS = Object.keys(CREDENTIALS)
/** The library leaves it to a function of the user's. */
const BY_FUNCTION = 'GSSAPI'

/**
 * The same with its mechanism as the library spells it; kafkajs has it in small letters. What is set on `sasl` later, such as a
 * new password, is seen.
 * @throws TypeError, without any value but the mechanism
 */
export function checkSasl(path: string, sasl: object): object {
  const given = sasl as Readonly<Record<string, unknown>>
  const mechanism = checkMechanism(`${path}.mechanism`, given['mechanism'])
  if (mechanism === BY_FUNCTION || given['authenticate'] !== undefined)
    requireFunction(`${path}.authenticate`, given['authenticate'])
  else for (const name of CREDENTIALS[mechanism]) checkCredential(`${path}.${name}`, given[name])
  if (mechanism === given['mechanism']) return sasl
  return Object.create(sasl, { mechanism: { value: mechanism, enumerable: true } }) as object
}

function checkMechanism(path: string, value: unknown): keyof typeof CREDENTIALS | typeof BY_FUNCTION {
  const spelt = typeof value === 'string' ? value.toUpperCase() : undefined
  const found = [...MECHANISMS, BY_FUNCTION].find((each) => each === spelt)
  if (found !== undefined) return found as keyof typeof CREDENTIALS | typeof BY_FUNCTION
  throw invalidOption(path, value, `one of ${MECHANISMS.join(', ')}, or ${BY_FUNCTION} with authenticate`)
}

function checkCredential(path: string, value: unknown): void {
  if (typeof value !== 'string' && typeof value !== 'function')
    throw wrongKind(path, value, 'a text, or a function that gives it')
}
