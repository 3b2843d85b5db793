/** Field types of the contracts, each with the sentence that a wrong value gets: `expected ..., got ...`. */
import { z } from 'zod'

const MAX_NAME = 200
const NAME = `expected a text of 1 to ${MAX_NAME} characters`
// oxlint-disable-next-line no-control-regex -- control characters are what is looked for
const CONTROL = /[\u0000-\u001f\u007f]/

/** Ids travel as message keys and headers and are stored by PostgreSQL: no control characters, no half characters. */
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
/** Cents. Nothing is a price: free samples exist. */
export const amount = integerFrom(0, 'expected an integer of 0 or more')

interface Priced {
  readonly quantity: number
  readonly unitPriceCents: number
}

/** Each number may be exact and their sum is not: a total above the safe integers would be charged wrong by cents. */
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
