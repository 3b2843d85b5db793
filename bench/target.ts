import { number } from './table.ts'

/** What a value should reach. */
export type Target = { readonly atLeast: number } | { readonly atMost: number }

/** For a table: the target, and whether the value meets it. A bench tells, it does not fail. */
export function verdict(value: number, target: Target | undefined, unit = ''): string {
  if (target === undefined) return '-'
  const [sign, limit] = 'atLeast' in target ? ['>=', target.atLeast] : ['<=', target.atMost]
  const met = 'atLeast' in target ? value >= target.atLeast : value <= target.atMost
  return `${sign} ${number(limit)}${unit}: ${met ? 'met' : 'NOT MET'}`
}
