/** Common set-up of the tests on PGlite: one database per file, and binders that are closed after each test. */
import { type Binder, type BinderOptions, createBinder } from 'concordat/binder'
import type { SqlClient } from 'concordat/core'
import { pgliteClient } from 'concordat/core/pglite'
import { postgresTransport } from 'concordat/postgres'
import { afterAll, beforeAll, onTestFinished } from 'vitest'
import type { PostgresTransportOptions } from '../../../support/inside/binder.ts'
import { freshPglite } from '../../../support/pglite.ts'

/** Begins and ends with the file. */
export function onPglite() {
  const database = freshPglite()
  beforeAll(() => database.waitReady, 180_000)
  afterAll(() => database.close())
  return { database, sql: pgliteClient(database) }
}

/** @returns starts a binder on the schema, with more options of binder and transport */
export function starterOn(sql: SqlClient, schema: string) {
  return async (
    more: Partial<BinderOptions> = {},
    options: Partial<PostgresTransportOptions> = {},
  ): Promise<Binder> => {
    const binder = createBinder({ service: 'test', transport: postgresTransport({ sql, schema, ...options }), ...more })
    onTestFinished(() => binder.close())
    await binder.start()
    return binder
  }
}
