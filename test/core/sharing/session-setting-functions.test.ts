/** Settings made by database functions must not reach other work in the same transaction. */
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { embedded, useEmbedded } from '../../outbox/support/pglite.ts'
import { sharingOn, type Work, xidOf } from '../../support/sharing.ts'

useEmbedded()

const SET = `CREATE FUNCTION app.set_tenant(tenant text) RETURNS void LANGUAGE plpgsql AS
  $$ BEGIN PERFORM set_config('app.tenant', tenant, true); END $$`

beforeEach(async () => {
  await embedded().query('CREATE SCHEMA app')
  await embedded().query(`CREATE TABLE app.line (id text, tenant text DEFAULT current_setting('app.tenant', true))`)
})
afterEach(async () => void (await embedded().query('DROP SCHEMA app CASCADE')))

/** Writes lines at the same time. @returns how many transactions they had */
async function writeAll(run: (work: Work) => Promise<void>, ids: readonly string[]): Promise<number> {
  const xids = new Set<string>()
  const line = (id: string): Work => {
    return async (tx) => {
      if (id.startsWith('acme')) await tx.query('SELECT app.set_tenant($1)', ['acme'])
      await tx.query('INSERT INTO app.line (id) VALUES ($1)', [id])
      xids.add(await xidOf(tx))
    }
  }
  await Promise.all(ids.map((id) => run(line(id))))
  return xids.size
}

async function tenants(): Promise<Readonly<Record<string, string>>> {
  const { rows } = await embedded().query<{ id: string; tenant: string | null }>('SELECT id, tenant FROM app.line')
  return Object.fromEntries(rows.map(({ id, tenant }) => [id, tenant ?? '']))
}

describe('work in a database with functions that make settings', () => {
  test('shares no transaction, so that a setting stays with the work that made it', async () => {
    await embedded().query(SET)
    const { run } = await sharingOn(embedded())
    expect(await writeAll(run, ['a', 'acme-b', 'c', 'd'])).toBe(4)
    expect(await tenants()).toEqual({ a: '', 'acme-b': 'acme', c: '', d: '' })
  })

  test('shares no transaction within a minute after the first such function was made', async () => {
    const { run, clock } = await sharingOn(embedded())
    expect(await writeAll(run, ['a', 'b'])).toBe(1)
    await embedded().query(SET)
    clock.move(60_000)
    expect(await writeAll(run, ['c', 'acme-d', 'e'])).toBe(3)
    expect(await tenants()).toEqual({ a: '', b: '', c: '', 'acme-d': 'acme', e: '' })
  })

  test.each([
    ['SET LOCAL, behind a comment', 'plpgsql', '$$ BEGIN\n-- the tenant\nSET LOCAL app.tenant = 1; END $$'],
    ['SET at the beginning of a branch', 'plpgsql', '$$ BEGIN IF true THEN SET search_path TO app; END IF; END $$'],
    ['SET ROLE', 'plpgsql', '$$ BEGIN SET ROLE nobody; END $$'],
    ['RESET in SQL', 'sql', '$$ RESET ALL $$'],
    ['a SET that is executed', 'plpgsql', "$$ BEGIN EXECUTE format('SET app.tenant = %L', 1); END $$"],
    ['a temporary table', 'plpgsql', '$$ BEGIN CREATE TEMP TABLE seen (id int) ON COMMIT DROP; END $$'],
    ['standard SQL', 'sql', "BEGIN ATOMIC SELECT set_config('app.tenant', '1', true); END"],
  ])('finds %s', async (_, language, body) => {
    const returns = body.startsWith('BEGIN') ? 'text' : 'void'
    await embedded().query(`CREATE FUNCTION app.setting() RETURNS ${returns} LANGUAGE ${language} ${as(body)}`)
    const { run } = await sharingOn(embedded())
    expect(await writeAll(run, ['a', 'b'])).toBe(2)
  })

  test('shares beside functions that only write', async () => {
    await embedded().query(`CREATE FUNCTION app.writing() RETURNS void LANGUAGE plpgsql AS $$ BEGIN
      UPDATE users SET role = 'x'; UPDATE "users"
      SET local = 1; INSERT INTO users VALUES (1) ON CONFLICT (id) DO UPDATE SET n = 1;
      EXECUTE 'UPDATE ' || 'users' || ' SET n = 1'; END $$`)
    const { run } = await sharingOn(embedded())
    expect(await writeAll(run, ['a', 'b', 'c'])).toBe(1)
  })
})

function as(body: string): string {
  return body.startsWith('$$') ? `AS ${body}` : body
}
