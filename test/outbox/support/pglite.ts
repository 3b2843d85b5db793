import { PGlite } from '@electric-sql/pglite'
import type { SqlClient } from 'concordat/core'
import { pgliteClient } from 'concordat/core/pglite'
import type { OutboxOptions } from 'concordat/outbox'
import { type OutboxSetup, setupOutboxOn } from './setup.ts'

let database: PGlite | undefined
let client: SqlClient | undefined

/** One embedded database per test file, made when first needed. */
export function embedded(): SqlClient {
  database ??= new PGlite()
  client ??= pgliteClient(database)
  return client
}

export async function closeEmbedded(): Promise<void> {
  await database?.close()
  database = undefined
  client = undefined
}

export function setupOutbox(options: Partial<OutboxOptions> = {}): Promise<OutboxSetup> {
  return setupOutboxOn(embedded(), options)
}
