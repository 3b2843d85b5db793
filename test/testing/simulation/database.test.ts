import { type PlayedHistory, type SimulationOptions, simulate } from '@concordat/simulator'
import { PGlite } from '@electric-sql/pglite'
import type { SqlClient } from 'concordat/core'
import { expect, it, onTestFinished } from 'vitest'
import { freshPglite } from '../../support/pglite.ts'

async function prepare(sql: SqlClient): Promise<void> {
  await sql.query('CREATE TABLE IF NOT EXISTS account (id text PRIMARY KEY, cents int NOT NULL)')
  await sql.query(`INSERT INTO account VALUES ('a', 1000), ('b', 0) ON CONFLICT DO NOTHING`)
  await sql.query(
    'CREATE TABLE IF NOT EXISTS moved (n serial PRIMARY KEY, at timestamptz NOT NULL DEFAULT now(), random text)',
  )
}

async function goOn(work: () => Promise<void>): Promise<void> {
  for (;;) {
    await work().catch(() => {})
    await new Promise((resolve) => void setTimeout(resolve, 100))
  }
}

/** Two clerks who move money from one account to the other, in three statements. */
function clerks(pglite: PGlite): Omit<SimulationOptions, 'seeds'> {
  const move = async (sql: SqlClient): Promise<void> => {
    await sql.transaction(async (tx) => {
      await tx.query(`UPDATE account SET cents = cents - 1 WHERE id = 'a'`)
      await tx.query(`UPDATE account SET cents = cents + 1 WHERE id = 'b'`)
      await tx.query('INSERT INTO moved (random) VALUES (random()::text)')
    })
  }
  const start: SimulationOptions['services'][string]['start'] = (instance) => {
    const sql = instance.sql('bank')
    void goOn(() => move(sql))
  }
  return {
    services: { clerk: { start } },
    databases: { bank: { pglite, prepare } },
    workload: ({ sleep, between }) => sleep(between(1_000, 7_000)),
    invariants: {
      'nothing is half done': async ({ client, note }) => {
        const { rows } = await client
          .sql('bank')
          .query<{ a: number; b: number; moved: number; last: string; at: string; random: string }>(
            `SELECT (SELECT cents FROM account WHERE id = 'a') AS a, (SELECT cents FROM account WHERE id = 'b') AS b,
               count(*)::int AS moved, max(n)::text AS last, max(at)::text AS at, string_agg(random, ' ' ORDER BY n) AS random
             FROM moved`,
          )
        const [row] = rows
        note(JSON.stringify(row))
        if (row === undefined || row.a + row.b !== 1000 || row.b !== row.moved) throw new Error(JSON.stringify(row))
      },
    },
  }
}

const TIMEOUT_MS = 180_000

it('a simulated database rolls back a killed instance’s work, and begins each history with the same rows, time and chance', {
  timeout: TIMEOUT_MS,
}, async () => {
  const pglite = freshPglite()
  onTestFinished(() => pglite.close())
  const options = clerks(pglite)
  const play = async (seeds: SimulationOptions['seeds']): Promise<PlayedHistory[]> => {
    const histories: PlayedHistory[] = []
    await simulate({ ...options, seeds, onHistory: (history) => histories.push(history) })
    return histories
  }
  const first = await play(8)
  const second = await play({ from: 5, count: 4 })
  expect(second.map(({ lines }) => lines)).toEqual(first.slice(4).map(({ lines }) => lines))
  expect(first.flatMap(({ faults }) => faults.filter(({ kind }) => kind.startsWith('kill'))).length).toBeGreaterThan(0)
  expect(first.at(0)?.lines.join('\n')).toContain('2026-01-01 00:00:')
  const { rows } = await pglite.query<{ n: number }>('SELECT count(*)::int AS n FROM moved')
  expect(rows).toEqual([{ n: 0 }])
})

it('a simulated database keeps one transaction waiting for another one, and ends one whose instance is frozen', {
  timeout: TIMEOUT_MS,
}, async () => {
  const pglite = freshPglite()
  onTestFinished(() => pglite.close())
  let ended = 0
  await simulate({
    ...clerks(pglite),
    seeds: 25,
    faults: ['freeze', 'delay'],
    onHistory: ({ lines }) => (ended += lines.filter((line) => line.includes('ends the idle transaction')).length),
  })
  expect(ended).toBeGreaterThan(0)
})
