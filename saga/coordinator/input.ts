/** A saga's input, as its steps see it. */
import { synchronous } from '../../core/callbacks.ts'
import { SchemaError, validate } from '../../core/schema.ts'
import type { SqlExecutor } from '../../core/sql.ts'
import type { Saga } from '../definition/saga.ts'
import { SagaInputUnreadable } from '../errors.ts'
import type { SagaKey, SagaRow } from '../store/rows.ts'
import type { SagaStore } from '../store/store.ts'

/**
 * What was stored at the start, in the output form of the schema; through `upcast` when it was started with a schema that
 * wanted something else.
 * @throws SagaInputUnreadable: the saga is left to whoever can read it
 */
export function readInput(saga: Saga, row: Pick<SagaRow, 'name' | 'id' | 'version' | 'input'>): unknown {
  const subject = `input of ${row.name}`
  const refused = (cause: unknown): never => {
    if (!(cause instanceof SchemaError)) throw cause
    throw new SagaInputUnreadable([{ saga: row.name, version: row.version, count: 1, ids: [row.id] }], { cause })
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
    return value instanceof Promise ? value.catch(otherwise) : value
  } catch (cause) {
    return otherwise(cause)
  }
}

export interface InputCheckHost {
  readonly store: SagaStore
  readonly sagas: readonly Saga<unknown, unknown, object>[]
}

const PAGE = 500
const NAMED = 5

/**
 * Reads the inputs of all open sagas, so that a definition which some of them do not fit touches none.
 * @throws SagaInputUnreadable with how many, and some ids
 */
export async function requireReadableInputs(sql: SqlExecutor, { store, sagas }: InputCheckHost): Promise<void> {
  const unreadable = new Map<Saga, string[]>()
  let after: SagaKey = { name: '', id: '' }
  for (;;) {
    const rows = await store.openInputs(sql, sagas, after, PAGE)
    for (const row of rows) {
      const saga = sagas.find(({ name, version }) => name === row.name && version === row.version)
      if (saga !== undefined && !(await isReadable(saga, row))) {
        unreadable.set(saga, [...(unreadable.get(saga) ?? []), row.id])
      }
    }
    const last = rows.at(-1)
    if (last === undefined || rows.length < PAGE) break
    after = last
  }
  if (unreadable.size === 0) return
  throw new SagaInputUnreadable(
    [...unreadable].map(([{ name, version }, ids]) => ({
      saga: name,
      version,
      count: ids.length,
      ids: ids.slice(0, NAMED),
    })),
  )
}

async function isReadable(saga: Saga, row: Pick<SagaRow, 'name' | 'id' | 'version' | 'input'>): Promise<boolean> {
  try {
    await readInput(saga, row)
    return true
  } catch (error) {
    if (error instanceof SagaInputUnreadable) return false
    throw error
  }
}
