/** Checks credentials before a broker is contacted: unusable ones would look like an unavailable broker. */
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
/** Mechanism that the library leaves to a user's function. */
const BY_FUNCTION = 'GSSAPI'

/**
 * Returns the options with the mechanism in the library's spelling; kafkajs uses lower case. Later changes of `sasl`, such as a
 * new password, are seen.
 * @throws TypeError without any value except the mechanism
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
