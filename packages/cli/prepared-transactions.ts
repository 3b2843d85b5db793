/** Prepared transactions in the operator's own database and in others. Nothing here ends one. */
import { hasMethods, wrongKind } from 'concordat/extension'
import type { OperatorRecords } from 'concordat/operator'
import type { XaResource } from 'concordat/saga/xa'
import type { PreparedTransaction } from './engine-types.ts'

/** A database in which `xaParticipant` prepares, such as `mysqlResource(pool)` of `@concordat/mysql`. */
export type OperatedResource = Pick<XaResource, 'name' | 'ready' | 'old'>

export const MOST_PREPARED = 20

/** The oldest first, at most twenty. @throws the error of a database that does not answer */
export async function preparedIn(
  records: Pick<OperatorRecords, 'prepared'>,
  resources: readonly OperatedResource[],
): Promise<readonly PreparedTransaction[]> {
  const found = await Promise.all([
    records.prepared(0),
    ...resources.map(async (resource) => (await resource.old(0)).map((one) => ({ ...one, on: resource.name }))),
  ])
  return found
    .flat()
    .toSorted((a, b) => b.ageMs - a.ageMs)
    .slice(0, MOST_PREPARED)
}

/** @throws TypeError */
export function requireResources(path: string, value: readonly OperatedResource[]): readonly OperatedResource[] {
  if (!Array.isArray(value)) throw wrongKind(path, value, 'a list of resources such as [mysqlResource(pool)]')
  for (const [n, one] of value.entries()) {
    if (!hasMethods(one, ['ready', 'old']))
      throw wrongKind(`${path}[${n}]`, one, 'a resource such as mysqlResource(pool)')
  }
  return value
}
