/** Reads a saga's stored input for its steps. */

import { isOf } from '../../core/define-error-class.ts'
import { SchemaError, validate } from '../../core/schema.ts'
import { readable } from '../../core/thrown-values.ts'
import { within } from '../../core/time-limit.ts'
import { synchronous } from '../../core/unawaited-callbacks.ts'
import type { Saga } from '../definition/saga-definition-types.ts'
import { SagaError } from '../errors.ts'
import type { SagaKey, SagaRow } from '../store/store-types.ts'
import type { CoordinatorRuntime } from './runtime.ts'

/**
 * Returns the stored input in the output form of the schema, through `upcast` if the saga was started with another schema. That of
 * a global transaction stays as stored: its code never runs again, and its branches keep their payloads.
 * @throws `saga.input_unreadable`: the saga is left to an instance that can read it
 */
export function readInput(saga: Saga, row: Pick<SagaRow, 'name' | 'id' | 'version' | 'input'>): unknown {
  if (saga.branches !== undefined) return row.input
  const subject = `input of ${row.name}`
  const refused = (cause: unknown): never => {
    if (!(cause instanceof SchemaError)) throw cause
    throw new SagaError(
      'saga.input_unreadable',
      { sagas: [{ saga: row.name, version: row.version, count: 1, ids: [row.id] }] },
      cause,
    )
  }
  const again = (cause: unknown): unknown => {
    if (saga.upcast === undefined || !(cause instanceof SchemaError)) return refused(cause)
    return settled(
      () =>
        validate(
          subject,
          saga.input,
          synchronous(`upcast of saga "${saga.name}"`, saga.upcast?.(row.input), 'an input'),
        ),
      refused,
    )
  }
  return settled(() => validate(subject, saga.input, row.input), again)
}

/** Stays synchronous when `work` is. */
function settled(work: () => unknown, otherwise: (cause: unknown) => unknown): unknown {
  try {
    const value = work()
    return value instanceof Promise ? value.catch((cause: unknown) => otherwise(readable(cause))) : value
  } catch (cause) {
    return otherwise(readable(cause))
  }
}

const PAGE = 500
const NAMED = 5

/**
 * Reads the inputs of all open sagas before any is changed, so that a definition that does not fit some of them changes none. An
 * input whose schema hangs blocks nothing: it is logged, and the other inputs are read when their sagas are due.
 * @throws `saga.input_unreadable` with their number and some ids
 */
export async function requireReadableInputs(runtime: CoordinatorRuntime): Promise<void> {
  const { sql, reports, sagas, clock, leaseMs, logger } = runtime
  const unreadable = new Map<Saga, string[]>()
  const hanging = new Set<Saga>()
  let after: SagaKey = { name: '', id: '' }
  for (;;) {
    const rows = await reports.openInputs(sql, sagas, after, PAGE)
    for (const row of rows) {
      const saga = sagas.find(({ name, version }) => name === row.name && version === row.version)
      if (saga === undefined || hanging.has(saga)) continue
      const read = isReadable(saga, row)
      const isIt = read instanceof Promise ? await within(clock, leaseMs, read, 'hangs' as const) : read
      if (isIt === false) unreadable.set(saga, [...(unreadable.get(saga) ?? []), row.id])
      if (isIt !== 'hangs') continue
      hanging.add(saga)
      logger.error(
        { saga: row.name, version: row.version, id: row.id, leaseMs },
        `the schema of saga "${row.name}" has not answered within ${leaseMs} ms whether it fits the input of ${row.id}: open sagas of it were not checked`,
      )
    }
    const last = rows.at(-1)
    if (last === undefined || rows.length < PAGE) break
    after = last
  }
  if (unreadable.size === 0) return
  throw new SagaError('saga.input_unreadable', {
    sagas: [...unreadable].map(([{ name, version }, ids]) => ({
      saga: name,
      version,
      count: ids.length,
      ids: ids.slice(0, NAMED),
    })),
  })
}

/** Synchronous when the schema is. */
function isReadable(saga: Saga, row: Pick<SagaRow, 'name' | 'id' | 'version' | 'input'>): boolean | Promise<boolean> {
  const unreadable = (error: unknown): boolean => {
    if (isOf(error, SagaError, 'saga.input_unreadable')) return false
    throw error
  }
  try {
    const input = readInput(saga, row)
    return input instanceof Promise ? input.then(() => true, unreadable) : true
  } catch (error) {
    return unreadable(error)
  }
}
