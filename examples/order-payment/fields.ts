/** Field types of the contracts, each with its error text for a wrong value: `expected ..., got ...`. */
import { z } from 'zod'

const MAX_NAME = 200
const NAME = `expected a text of 1 to ${MAX_NAME} characters`
// oxlint-disable-next-line no-control-regex -- the pattern finds control characters
const CONTROL = /[\u0000-\u001f\u007f]/

/** Text for message keys, headers and PostgreSQL: no control characters, no unpaired surrogates. */
export const name = z
  .string({ error: NAME })
  .refine((text) => text.length >= 1 && text.length <= MAX_NAME, { error: NAME, abort: true })
  .refine((text) => text.isWellFormed() && !CONTROL.test(text), {
    error: 'expected a text without control characters or broken Unicode',
  })

const MAX = Number.MAX_SAFE_INTEGER
const EXACT = `expected an integer of at most ${MAX}`

function integerFrom(least: number, expected: string) {
  return z
    .number({ error: expected })
    .refine((value) => Number.isInteger(value) && value >= least, { error: expected, abort: true })
    .refine(Number.isSafeInteger, { error: EXACT })
}

export const quantity = integerFrom(1, 'expected a positive integer')
/** Price in cents. 0 is valid: free samples exist. */
export const amount = integerFrom(0, 'expected an integer of 0 or more')

interface Priced {
  readonly quantity: number
  readonly unitPriceCents: number
}

/** Refuses a total over Number.MAX_SAFE_INTEGER: each number may be exact while their sum is off by some cents. */
export function totalIssue(
  lines: readonly Priced[],
): { readonly message: string; readonly params: { readonly got: string } } | undefined {
  if (!lines.every((line) => Number.isSafeInteger(line.quantity) && Number.isSafeInteger(line.unitPriceCents))) return
  const cents = lines.reduce((sum, line) => sum + BigInt(line.quantity) * BigInt(line.unitPriceCents), 0n)
  const units = lines.reduce((sum, line) => sum + BigInt(line.quantity), 0n)
  if (cents > BigInt(MAX))
    return { message: `expected a total of at most ${MAX} cents`, params: { got: String(cents) } }
  if (units > BigInt(MAX)) return { message: `expected at most ${MAX} units`, params: { got: String(units) } }
  return undefined
}
