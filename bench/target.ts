import { number } from './table.ts'

/** Limit that a value should reach. */
export type Target = { readonly atLeast: number } | { readonly atMost: number }

/** Table cell with the target and whether the value meets it. A bench reports a missed target and does not fail. */
export function verdict(value: number, target: Target | undefined, unit = ''): string {
  if (target === undefined) return '-'
  const [sign, limit] = 'atLeast' in target ? ['>=', target.atLeast] : ['<=', target.atMost]
  const met = 'atLeast' in target ? value >= target.atLeast : value <= target.atMost
  return `${sign} ${number(limit)}${unit}: ${met ? 'met' : 'NOT MET'}`
}
