// oxlint-disable no-restricted-imports -- a later release of a part's tables, of which there is none yet
import { onTestFinished } from 'vitest'
import { TRANSPORT_PART } from '../../binder/postgres/tables.ts'
import type { SqlMigration, SqlPart } from '../../core/migrate.ts'
import { SAGA_PART } from '../../saga/store/tables.ts'

const PARTS = { saga: SAGA_PART, transport: TRANSPORT_PART } satisfies Record<string, SqlPart>

/** Makes this process the next release until the test ends: it needs a version more of these tables. */
export function asNextRelease(name: keyof typeof PARTS): void {
  const migrations = PARTS[name].migrations as SqlMigration[]
  const version = migrations.length + 1
  migrations.push({ version, worksWith: version - 1, statements: [] })
  onTestFinished(() => void migrations.pop())
}
