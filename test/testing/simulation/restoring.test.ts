import { type SimulationOptions, simulate } from '@concordat/simulator'
import type { PGlite } from '@electric-sql/pglite'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { freshPglite } from '../../support/pglite.ts'
import { failureOf, IDLE } from './failure.ts'

let pglite: PGlite
beforeAll(() => {
  pglite = freshPglite()
})
afterAll(() => pglite.close())

const PREPARED = [
  'DROP TABLE IF EXISTS made',
  'DROP TABLE IF EXISTS line',
  'CREATE TABLE line (n int)',
  `CREATE OR REPLACE FUNCTION one() RETURNS int LANGUAGE sql AS 'SELECT 1'`,
]

/** A service that runs these statements when it starts. */
const running = (...texts: readonly string[]): SimulationOptions => ({
  ...IDLE,
  databases: {
    shop: {
      pglite,
      prepare: async (sql) => {
        for (const text of PREPARED) await sql.query(text)
      },
    },
  },
  services: {
    shop: {
      instances: 1,
      start: async ({ sql }) => {
        for (const text of texts) await sql('shop').query(text)
      },
    },
  },
  faults: [],
})

const refusalOf = (options: SimulationOptions): Promise<unknown> =>
  simulate(options).catch((error: unknown) => (error instanceof TypeError ? error.message : error))

describe('refuses leftovers of a history in a database', () => {
  it.each([
    ['table public.made was made', 'CREATE TABLE IF NOT EXISTS made (n int)'],
    ['index public.by_n was made', 'CREATE INDEX by_n ON line (n)'],
    ['table public.line was changed', 'ALTER TABLE line ADD COLUMN at timestamptz'],
    ['table public.line was changed', 'ALTER TABLE line ALTER COLUMN n SET DEFAULT 3'],
    ['constraint line_n_check of public.line was made', 'ALTER TABLE line ADD CHECK (n > 0)'],
    ['table public.line was dropped', 'DROP TABLE line'],
    ['function public.one() was changed', `CREATE OR REPLACE FUNCTION one() RETURNS int LANGUAGE sql AS 'SELECT 2'`],
    ['schema other was made', 'CREATE SCHEMA other'],
    ['type public.colour was made', `CREATE TYPE colour AS ENUM ('red')`],
  ])('%s', async (change, text) => {
    const refusal = await refusalOf(running(text))
    expect(refusal).toContain(`simulate.databases.shop.prepare: ${change} in the history of seed 1`)
    for (const left of ['DROP SCHEMA IF EXISTS other', 'DROP TYPE IF EXISTS colour']) await pglite.query(left)
  })
})

it('the simulator begins each history with the same rows, on existing ones too', async () => {
  const { histories } = await simulate({
    ...running(
      'CREATE TABLE IF NOT EXISTS line (n int)',
      `CREATE OR REPLACE FUNCTION one() RETURNS int LANGUAGE sql AS 'SELECT 1'`,
      'CREATE TEMP TABLE draft (n int)',
      'INSERT INTO line VALUES (1)',
    ),
    seeds: 5,
    invariants: {
      'there is one line': async ({ client }) => {
        const { rows } = await client.sql('shop').query('SELECT * FROM line')
        return rows.length === 1
      },
    },
  })
  expect(histories).toBe(5)
})

it('the simulator has an open transaction of a dead instance undone, with the tables that it made', async () => {
  const services: SimulationOptions['services'] = {
    shop: {
      instances: 1,
      start: ({ sql }) =>
        void sql('shop').transaction(async (tx) => {
          await tx.query('CREATE TABLE made (n int)')
          await new Promise(() => {})
        }),
    },
  }
  const { histories } = await simulate({ ...running(), services })
  expect(histories).toBe(2)
})

it('the simulator reports an invariant that does not hold, with the database’s rows', async () => {
  const failure = await failureOf({ ...running('INSERT INTO line VALUES (1)'), invariants: { no: () => false } })
  expect(failure.invariant).toBe('no')
  expect((await pglite.query('SELECT * FROM line')).rows).toEqual([])
})
