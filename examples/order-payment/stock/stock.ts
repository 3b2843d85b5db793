/** The stock service: a saga participant that reserves units (all or none) and compensates with release. */
import { participant } from 'concordat/saga'
import { stockCommands } from '../contracts.ts'
import { type ServiceEnvironment } from '../environment.ts'
import { PATIENT, type RunningService, serviceIn, start } from '../service.ts'
import { fillShelves, migrateShelves, release, reserve, shelfTables } from './shelves.ts'

export async function startStock(environment: ServiceEnvironment): Promise<RunningService> {
  const { sql, schema, openingFile } = environment
  const tables = shelfTables(schema)
  await migrateShelves(sql, schema)
  if (openingFile !== undefined) await fillShelves(sql, tables, openingFile)
  const commands = participant(
    stockCommands,
    // Both callbacks write in `tx` only, so the participant needs no record before the call.
    { ...PATIENT, group: 'stock', concurrency: 16, effects: 'tx' },
    {
      invoke: (request, { tx, key }) => reserve(tx, tables, key, request),
      compensate: (_request, { tx, key }) => release(tx, tables, key),
    },
  )
  return start(serviceIn(environment, { name: 'stock', bindings: [commands] }), environment)
}
