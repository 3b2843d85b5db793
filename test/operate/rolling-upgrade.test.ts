/**
 * Two releases side by side. A migration that says it works with the release before leaves everything in its place that this
 * one uses: compared in the catalog, from the SQL of each version. And this release works on tables of a later one.
 */

import { createOperator } from '@concordat/cli'
import { migrate } from 'concordat/core'
import { pgliteClient } from 'concordat/core/pglite'
import { migrationParts, printMigrations } from 'concordat/operator'
import { createOutbox } from 'concordat/outbox'
import { defineSaga } from 'concordat/saga'
import { createCoordinator } from 'concordat/saga/coordinator'
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest'
import { z } from 'zod'
import { migrationText, type SqlMigration } from '../support/inside/core.ts'
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

/** Members that one release uses, or may leave out, and does not find in the other. */
function brokenBy(old: Shape, now: Shape): readonly string[] {
  const tables = new Set([...old.columns.keys()].map((name) => name.split('.')[0]))
  const isOld = (name: string): boolean => tables.has(name.split(/[.:]/)[0])
  const columns = [...old.columns].filter(([name, { type }]) => now.columns.get(name)?.type !== type)
  const required = [...now.columns].filter(
    ([name, column]) => column.required && isOld(name) && old.columns.get(name)?.required !== true,
  )
  const functions = [...old.functions].filter((text) => !now.functions.has(text))
  const rules = [...now.rules].filter((rule) => !old.rules.has(rule) && isOld(rule))
  return [...columns.map(([name]) => name), ...required.map(([name]) => name), ...functions, ...rules]
}

/** The SQL of each version of a part; statements before the first version belong to it. */
function versionsOf(part: string, text: string): readonly string[] {
  const [before = '', ...versions] = text.split(new RegExp(`(?=^-- ${part}, version \\d+)`, 'm'))
  return versions.map((each, n) => (n === 0 ? `${before}${each}` : each))
}

/** The changes of versions above `claim.with`, up to `claim.version`, that break an older release. */
async function broken(schema: string, texts: readonly string[], claim: { version: number; with: number }) {
  for (const text of texts.slice(0, claim.with)) await database.exec(text)
  const old = await shapeOf(schema)
  expect(old.columns.size).toBeGreaterThan(3)
  for (const text of texts.slice(claim.with, claim.version)) await database.exec(text)
  return brokenBy(old, await shapeOf(schema))
}

describe('a migration that works with the release before', () => {
  const FIRST: SqlMigration = {
    version: 1,
    statements: [
      'CREATE TABLE {schema}.thing (id int PRIMARY KEY, name text)',
      'CREATE FUNCTION {schema}.thing_of(int) RETURNS text LANGUAGE sql AS $$ SELECT name FROM {schema}.thing WHERE id = $1 $$',
    ],
  }

  test.for([
    ['a column that may be empty', 'ALTER TABLE {schema}.thing ADD COLUMN more text', []],
    ['a table', 'CREATE TABLE {schema}.other (id int NOT NULL)', []],
    ['a column that is gone', 'ALTER TABLE {schema}.thing DROP COLUMN name', ['thing.name']],
    ['a column of another type', 'ALTER TABLE {schema}.thing ALTER name TYPE varchar', ['thing.name']],
    ['a column that must be given', 'ALTER TABLE {schema}.thing ADD COLUMN more text NOT NULL', ['thing.more']],
    ['a function that is gone', 'DROP FUNCTION {schema}.thing_of(int)', ['thing_of(integer) text']],
    ['a rule', 'ALTER TABLE {schema}.thing ADD CHECK (id > 0)', ['thing: CHECK ((id > 0))']],
  ] as const)('%s', async ([title, statement, expected], { task }) => {
    const schema = `part_${task.id.replaceAll(/\W/g, '_')}`
    const second = { version: 2, worksWith: 1, statements: [statement] }
    const part = { name: 'things', migrations: [FIRST, second], call: 'migrate()' }
    const texts = versionsOf('things', migrationText(schema, part))
    expect([title, await broken(schema, texts, { version: 2, with: 1 })]).toEqual([title, expected])
  })

  test('leaves what that one uses in its place, in every part of this release', async () => {
    const row = /VALUES \('(?<part>[\w-]+)', (?<version>\d+), (?<works>\d+)\)/g
    const claims = Array.from(printMigrations().matchAll(row), ({ groups }) => ({
      part: groups?.['part'] ?? '',
      version: Number(groups?.['version']),
      with: Number(groups?.['works']),
    }))
    expect(claims.map(({ part }) => part)).toEqual(
      migrationParts().flatMap(({ part, version }) => Array.from({ length: version }, () => part)),
    )
    for (const claim of claims.filter((each) => each.with < each.version)) {
      const schema = `${claim.part.replace('-', '_')}_${claim.version}`
      const texts = versionsOf(claim.part, printMigrations({ schema, parts: [claim.part], service: 'shop' }))
      expect([claim, await broken(schema, texts, claim)]).toEqual([claim, []])
    }
  })
})

describe('this release on the tables of a later one', () => {
  const order = defineSaga('order', { version: 1, input: z.object({ n: z.number() }) })
    .step('a', { invoke: () => 'done', compensate: 'none' })
    .step('b', { invoke: ({ results }) => `${results.a} too`, compensate: 'none' })

  /** The tables of the parts, and what the next release makes of them. */
  async function upgraded(worksWith: number) {
    const sql = pgliteClient(database)
    const schema = `later_${worksWith}`
    const outbox = createOutbox({ sql, service: 'orders', schema })
    const coordinator = createCoordinator({ service: 'orders', sql, outbox, schema, sagas: [order], pollMs: 20 })
    onTestFinished(() => coordinator.close())
    await outbox.migrate()
    await coordinator.migrate()
    const older = await coordinator.start(order, { id: 'older', input: { n: 1 } })
    for (const [part, table] of [
      ['outbox', 'outbox'],
      ['saga', 'saga'],
    ] as const) {
      const current = migrationParts().find((each) => each.part === part)?.version ?? 0
      const known = Array.from({ length: current }, (_, n) => ({ version: n + 1, statements: [] }))
      const next = { version: current + 1, worksWith: worksWith === 1 ? current : current + 1 }
      const statements = [`ALTER TABLE {schema}.${table} ADD COLUMN of_the_next_release text`]
      await migrate(sql, schema, part, [...known, { ...next, statements }])
    }
    return { sql, schema, outbox, coordinator, older }
  }

  test('goes on with what it began and begins more, where that one says so', async () => {
    const { sql, schema, outbox, coordinator, older } = await upgraded(1)
    await outbox.ready()
    await outbox.migrate()
    await coordinator.migrate()
    await coordinator.run()
    const newer = await coordinator.start(order, { id: 'newer', input: { n: 2 } })
    for (const run of [older, newer])
      expect(await run.outcome({ timeoutMs: 25_000 })).toMatchObject({ results: { a: 'done', b: 'done too' } })
    const states = await createOperator({ sql, schema }).migrations()
    expect(states.filter(({ state }) => state === 'newer').map(({ part }) => part)).toEqual(['outbox', 'saga'])
  })

  test('does not begin where that one does not', async () => {
    const { outbox, coordinator } = await upgraded(2)
    const refused = { code: 'core.sql_version', found: 2, known: 1 }
    await expect(outbox.migrate()).rejects.toMatchObject(refused)
    await expect(coordinator.migrate()).rejects.toMatchObject(refused)
  })
})
