import { pgliteClient } from 'concordat/core/pglite'
import { postgresTransport } from 'concordat/postgres'
import { transportConformance } from '../../conformance/transport.ts'
import { freshPglite } from '../../support/pglite.ts'
import { interruptible } from './support/interruptible.ts'

transportConformance('PGlite', async () => {
  const database = freshPglite()
  const { sql, interrupt, recover } = interruptible(pgliteClient(database))
  return {
    transport: () => postgresTransport({ sql }),
    broker: { kill: async () => interrupt(), restart: async () => recover() },
    close: () => database.close(),
  }
})
