import { rm } from 'node:fs/promises'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { createDatabase } from '../outbox/support/postgres.ts'
import { describeWith, serverUrl } from '../support/servers/index.ts'
import { expectProgram, installProgram } from './support/service-program.ts'
import { type Packed, pack } from './support/tarball.ts'

describeWith(['kafka', 'rabbitmq', 'redis', 'postgres'], 'a service from the packed package', () => {
  let packed: Packed
  let project: string
  beforeAll(async () => {
    packed = await pack()
    project = await installProgram(packed)
  })
  afterAll(() => rm(packed.folder, { recursive: true, force: true }))

  it.for(['kafka', 'rabbitmq', 'postgres'])('runs on %s with every name of its options', async (PLACE) => {
    const database = await createDatabase()
    try {
      await expectProgram(project, {
        PLACE,
        POSTGRES_URL: database.url,
        KAFKA_BROKERS: serverUrl('kafka') ?? '',
        RABBITMQ_URL: serverUrl('rabbitmq') ?? '',
        REDIS_URL: serverUrl('redis') ?? '',
      })
    } finally {
      await database.drop()
    }
    expect.hasAssertions()
  })
})
