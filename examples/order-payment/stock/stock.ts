/** The stock service: takes part in sagas with reserve (all units or none) and its undoing, release. */
import { createBinder } from 'concordat/binder'
import { migrateParticipant, participant, sagaReplies } from 'concordat/saga'
import { keepBoardLine } from '../board.ts'
import { stockCommands } from '../contracts.ts'
import { closeAll, outboxOf, PATIENT, type RunningService, relayOf, type ServiceEnvironment } from '../service.ts'
import { fillShelves, migrateShelves, release, reserve, shelfTables } from './shelves.ts'

export async function startStock(environment: ServiceEnvironment): Promise<RunningService> {
  const { sql, schema, transport, logger, instance, openingFile } = environment
  const outbox = outboxOf(environment, 'stock')
  const tables = shelfTables(schema)
  await migrateShelves(sql, schema)
  await migrateParticipant(sql, schema)
  await outbox.migrate()
  if (openingFile !== undefined) await fillShelves(sql, tables, openingFile)
  const commands = participant(
    stockCommands,
    { ...PATIENT, group: 'stock', concurrency: 16, sql, schema, outbox },
    {
      invoke: (request, { tx, key }) => reserve(tx, tables, key, request),
      compensate: (_request, { tx, key }) => release(tx, tables, key),
    },
  )
  const sends = [sagaReplies('orders')]
  const binder = createBinder({ service: 'stock', transport, bindings: [commands], sends, instance, logger })
  const relay = relayOf(environment, outbox, binder)
  await binder.start()
  await relay.start()
  const line = keepBoardLine(environment, binder)
  return { close: () => closeAll([binder, relay, line]) }
}
