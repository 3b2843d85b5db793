import type { PGlite } from '@electric-sql/pglite'
import type { SqlClient } from 'concordat/core'
import { pgliteClient } from 'concordat/core/pglite'
import { afterAll, beforeAll } from 'vitest'
import type { OutboxOptions } from '../../support/inside/outbox.ts'
import { freshPglite } from '../../support/pglite.ts'
import { type OutboxSetup, setupOutboxOn } from './setup.ts'

let client: SqlClient | undefined

/** Gives the test file one embedded database. It takes seconds to start, on a busy machine many. */
export function useEmbedded(): PGlite {
  const database = freshPglite()
  client = pgliteClient(database)
  beforeAll(() => database.waitReady, 180_000)
  afterAll(() => database.close(), 60_000)
  return database
}

export function embedded(): SqlClient {
  if (client === undefined) throw new Error('call useEmbedded() at the top of the test file')
  return client
}

export function setupOutbox(options: Partial<OutboxOptions> = {}): Promise<OutboxSetup> {
  return setupOutboxOn(embedded(), options)
}
