/**
 * Checks databases other than PostgreSQL in which XA participants prepare: their settings, and transactions prepared for long.
 */
import { hasCode } from 'concordat/core'
import { preparedRemedy as remedyOf } from 'concordat/operator'
import type { OperatedResource } from '../prepared-transactions.ts'
import { PREPARED_MS, withError } from './check-context.ts'
import { type DoctorLine, duration, fail, ok, warn } from './line.ts'

/** Never rejects: a database that does not answer is a line. */
export async function examineResource(resource: OperatedResource): Promise<readonly DoctorLine[]> {
  const { name } = resource
  try {
    await resource.ready()
    const old = await resource.old(PREPARED_MS)
    const lines = old.map((one) => {
      const text = `${one.gid} is prepared for ${duration(one.ageMs)} on ${name}: it holds locks`
      return warn('prepared', text, remedyOf(one))
    })
    return [ok('resource', `${name} answers and can prepare`), ...lines]
  } catch (error) {
    return [lineOf(name, error)]
  }
}

function lineOf(name: string, error: unknown): DoctorLine {
  const isUnfit = hasCode(error, 'core.sql_cannot_prepare') || hasCode(error, 'core.tables_missing')
  const line = isUnfit
    ? fail('resource', name, `do that on ${name}, or give another address`)
    : fail('resource', `${name}: no answer`, 'check the address, the user and that the server is up')
  return withError(line, error)
}
