import { afterAll, beforeAll } from 'vitest'
import { clusterConformance } from '../../../conformance/cluster.ts'
import { type ClusterDatabase, clusterDatabase, wipeCluster } from '../../../support/cluster/on-postgres.ts'
import { describeWith } from '../../../support/servers/index.ts'

describeWith(['postgres'], 'PostgreSQL', () => {
  let database: ClusterDatabase
  beforeAll(async () => {
    database = await clusterDatabase()
  })
  afterAll(() => database.drop())

  for (const listens of [true, false])
    clusterConformance(`PostgreSQL, ${listens ? 'with a listener' : 'without one'},`, async () => ({
      store: () => database.store({ listens }),
      wipe: () => wipeCluster(database.sql),
      close: async () => {},
    }))
})
