/**
 * Two releases side by side: a migration that says it works with the release before leaves everything in its place that
 * this one uses. Compared in the catalog, from the SQL of each version.
 */

import { migrationParts, printMigrations } from 'concordat/operate'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { freshPglite } from '../support/pglite.ts'

const database = freshPglite()
beforeAll(() => database.waitReady, 180_000)
afterAll(() => database.close())

interface Shape {
  /** `table.column type`, and whether it has to be given. Those of partitions are left out: each release names their table only. */
  readonly columns: ReadonlyMap<string, { readonly type: string; readonly required: boolean }>
  /** `name(arguments) returns`. */
  readonly functions: ReadonlySet<string>
  /** Unique indexes and checks: a new one could refuse what the old release writes. */
  readonly rules: ReadonlySet<string>
}

async function shapeOf(schema: string): Promise<Shape> {
  const columns = await database.query<{ name: string; type: string; required: boolean }>(
    `SELECT c.relname || '.' || a.attname AS name, format_type(a.atttypid, a.atttypmod) AS type,
            a.attnotnull AND NOT a.atthasdef AND a.attidentity = '' AS required
       FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
      WHERE c.relnamespace = $1::regnamespace AND c.relkind IN ('r', 'p') AND NOT c.relispartition AND a.attnum > 0 AND NOT a.attisdropped`,
    [schema],
  )
  const functions = await database.query<{ text: string }>(
    `SELECT p.proname || '(' || pg_get_function_identity_arguments(p.oid) || ') ' || pg_get_function_result(p.oid) AS text
       FROM pg_proc p WHERE p.pronamespace = $1::regnamespace`,
    [schema],
  )
  const rules = await database.query<{ text: string }>(
    `SELECT c.relname || ': ' || pg_get_constraintdef(k.oid) AS text
       FROM pg_constraint k JOIN pg_class c ON c.oid = k.conrelid
      WHERE k.connamespace = $1::regnamespace AND k.contype <> 'n' AND NOT c.relispartition
      UNION SELECT t.relname || ': ' || pg_get_indexdef(i.indexrelid) FROM pg_index i
       JOIN pg_class t ON t.oid = i.indrelid WHERE t.relnamespace = $1::regnamespace AND i.indisunique AND NOT t.relispartition`,
    [schema],
  )
  return {
    columns: new Map(columns.rows.map(({ name, ...rest }) => [name, rest])),
    functions: new Set(functions.rows.map(({ text }) => text)),
    rules: new Set(rules.rows.map(({ text }) => text)),
  }
}

/** The SQL of each version of a part; what is made before the first one belongs to it. */
function versionsOf(part: string, schema: string): readonly string[] {
  const text = printMigrations({ schema, parts: [part], service: 'shop' })
  const [before = '', ...versions] = text.split(new RegExp(`(?=^-- ${part}, version \\d+)`, 'm'))
  return versions.map((each, n) => (n === 0 ? `${before}${each}` : each))
}

interface Claim {
  readonly part: string
  readonly version: number
  readonly with: number
}

/** What the migrations claim, as they write it down. */
function claims(): readonly Claim[] {
  const row = /VALUES \('(?<part>[\w-]+)', (?<version>\d+), (?<works>\d+)\)/g
  return Array.from(printMigrations().matchAll(row), ({ groups }) => ({
    part: groups?.['part'] ?? '',
    version: Number(groups?.['version']),
    with: Number(groups?.['works']),
  })).filter((claim) => claim.with < claim.version)
}

describe('a migration that works with the release before', () => {
  test('is claimed by some, each from a version that exists', () => {
    expect(claims().length).toBeGreaterThanOrEqual(3)
    for (const claim of claims()) {
      expect(migrationParts().map(({ part }) => part)).toContain(claim.part)
      expect(claim.with).toBeGreaterThanOrEqual(1)
    }
  })

  test.for(claims())('$part $version leaves what $part $with uses in its place', async (claim) => {
    const schema = `${claim.part.replace('-', '_')}_${claim.version}`
    const texts = versionsOf(claim.part, schema)
    expect(texts).toHaveLength(migrationParts().find(({ part }) => part === claim.part)?.version ?? 0)
    for (const text of texts.slice(0, claim.with)) await database.exec(text)
    const old = await shapeOf(schema)
    for (const text of texts.slice(claim.with, claim.version)) await database.exec(text)
    const now = await shapeOf(schema)
    expect(old.columns.size).toBeGreaterThan(3)
    for (const [name, { type }] of old.columns) expect(now.columns.get(name)?.type, name).toBe(type)
    for (const text of old.functions) expect(now.functions, text).toContain(text)
    for (const [name, { required }] of now.columns)
      if (required && !old.columns.get(name)?.required) {
        const [table = ''] = name.split('.')
        const isNewTable = ![...old.columns.keys()].some((other) => other.startsWith(`${table}.`))
        expect(isNewTable, `${name} has to be given, and the old release does not know it`).toBe(true)
      }
    const tables = new Set([...old.columns.keys()].map((name) => name.split('.')[0]))
    const added = [...now.rules].filter((rule) => !old.rules.has(rule) && tables.has(rule.split(':')[0]))
    const lost = [...old.rules].filter((rule) => !now.rules.has(rule))
    expect({ added, lost }).toEqual({ added: [], lost: [] })
  })
})
