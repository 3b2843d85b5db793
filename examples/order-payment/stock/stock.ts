/** The stock service: takes part in sagas with reserve (all units or none) and its undoing, release. */
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
    // All that these do is in `tx`: nothing has to be written down before.
    { ...PATIENT, group: 'stock', concurrency: 16, effects: 'tx' },
    {
      invoke: (request, { tx, key }) => reserve(tx, tables, key, request),
      compensate: (_request, { tx, key }) => release(tx, tables, key),
    },
  )
  return start(serviceIn(environment, { name: 'stock', bindings: [commands] }), environment)
}
