/** Reads and checks the values of options. */
import { DAY, HOUR, MINUTE, SECOND } from 'concordat/core'
import type { OperatorNote } from 'concordat/saga/coordinator'
import { type Invocation, UsageError, type Values } from './command.ts'

export function text(values: Values, name: string): string | undefined {
  const value = values[name]
  return typeof value === 'string' ? value : undefined
}

export function flag(values: Values, name: string): boolean {
  return values[name] === true
}

export function texts(values: Values, name: string): readonly string[] | undefined {
  const value = values[name]
  return Array.isArray(value) ? value.map(String) : undefined
}

/** @throws UsageError */
export function whole(values: Values, name: string): number | undefined {
  const value = text(values, name)
  return value === undefined ? undefined : readWhole(`--${name}`, value)
}

export function readWhole(option: string, value: string): number {
  if (!/^\d{1,15}$/.test(value)) throw new UsageError(`${option}: expected a whole number, got "${value}"`)
  return Number(value)
}

const UNITS: Readonly<Record<string, number>> = { ms: 1, s: SECOND, m: MINUTE, h: HOUR, d: DAY }

/** `90s`, `15m`, `2h`, `1d`. @throws UsageError */
export function durationMs(values: Values, name: string): number | undefined {
  const value = text(values, name)
  if (value === undefined) return undefined
  const [, count, unit = ''] = /^(\d{1,9})(ms|s|m|h|d)$/.exec(value) ?? []
  if (count === undefined)
    throw new UsageError(`--${name}: expected a duration such as 90s, 15m, 2h or 1d, got "${value}"`)
  return Number(count) * (UNITS[unit] as number)
}

/** Person and reason. @throws UsageError without a reason */
export function note({ values, user, env }: Invocation): OperatorNote {
  const reason = text(values, 'reason')
  if (reason === undefined || reason === '')
    throw new UsageError('this needs --reason TEXT: it is kept with the action')
  return { by: text(values, 'by') || env['CONCORDAT_BY'] || user, reason }
}

/** The only argument of a command. @throws UsageError */
export function only({ positionals }: Invocation, what: string): string {
  const [first, ...rest] = positionals
  if (first === undefined) throw new UsageError(`this needs ${what}`)
  none(rest)
  return first
}

/** Exactly the named values, each required. @throws UsageError */
export function several<const Names extends readonly string[]>(
  { positionals }: Pick<Invocation, 'positionals'>,
  names: Names,
): { readonly [N in keyof Names]: string } {
  none(positionals.slice(names.length))
  if (positionals.length < names.length) throw new UsageError(`this needs ${names.join(' ')}`)
  return positionals as unknown as { readonly [N in keyof Names]: string }
}

/** @throws UsageError */
export function none(positionals: readonly string[]): void {
  if (positionals.length > 0) throw new UsageError(`unexpected argument "${positionals[0]}"`)
}
