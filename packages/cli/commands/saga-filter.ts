/** The options that select sagas. */
import type { SagaFilter } from '../sagas/saga-list.ts'
import { type OptionSpecs, UsageError, type Values } from './command.ts'
import { durationMs, text } from './values.ts'

export const FILTER_OPTIONS: OptionSpecs = {
  saga: { type: 'string', hint: 'NAME', about: 'sagas of this name' },
  'id-prefix': { type: 'string', hint: 'TEXT', about: 'ids that begin so' },
  owner: { type: 'string', hint: 'INSTANCE', about: 'that this instance has in hand' },
  code: { type: 'string', hint: 'CODE', about: 'that failed with this code' },
  'older-than': { type: 'string', hint: '2h', about: 'started at least so long ago: 90s, 15m, 2h, 1d' },
}

/** @throws UsageError */
export function filterOf(values: Values): Omit<SagaFilter, 'status'> {
  return {
    saga: text(values, 'saga'),
    idPrefix: text(values, 'id-prefix'),
    owner: text(values, 'owner'),
    code: text(values, 'code'),
    olderThanMs: durationMs(values, 'older-than'),
  }
}

/** True if an option selects sagas: without any, the command means all of them. */
export function isPicked(values: Values): boolean {
  return Object.keys(FILTER_OPTIONS).some((name) => values[name] !== undefined)
}

/** Ids may contain a slash, names may not. @throws UsageError */
export function targetOf(
  positionals: readonly string[],
  what = 'SAGA/ID',
): { readonly saga: string; readonly id: string } {
  const [given, ...more] = positionals
  if (given === undefined) throw new UsageError(`this needs ${what}`)
  if (more.length > 0)
    throw new UsageError(`expected SAGA/ID as one argument, such as buy/o-1, got "${positionals.join(' ')}"`)
  const slash = given.indexOf('/')
  if (slash <= 0 || slash === given.length - 1) throw new UsageError(`expected SAGA/ID, got "${given}"`)
  return { saga: given.slice(0, slash), id: given.slice(slash + 1) }
}
