import { pgliteClient } from 'concordat/core/pglite'
import { postgresStateStore } from 'concordat/postgres'
import { clusterConformance } from '../../../conformance/cluster.ts'
import { warmUp, wipeCluster } from '../../../support/cluster/on-postgres.ts'
import { freshPglite } from '../../../support/pglite.ts'

clusterConformance('PGlite', async () => {
  const database = freshPglite()
  const sql = pgliteClient(database)
  await warmUp(sql)
  return {
    store: () => postgresStateStore({ sql }),
    wipe: () => wipeCluster(sql),
    close: () => database.close(),
  }
})
