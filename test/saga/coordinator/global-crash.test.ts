/** The process that runs the code of a global transaction dies at any statement or commit; another one finishes it. */

import type { SqlExecutor } from 'concordat/core'
import { hasCode } from 'concordat/core'
import { Refusal } from 'concordat/saga'
import type { Coordinator } from 'concordat/saga/coordinator'
import { BranchRefused, defineBranch, defineGlobalTransaction, type GlobalTransaction } from 'concordat/saga/global'
import { tccParticipant } from 'concordat/saga/tcc'
import { describe, expect, test } from 'vitest'
import { z } from 'zod'
import { STRIDE } from '../../support/suite/night.ts'
import { crashWorld } from '../support/crash-world.ts'
import { FAST, stockCommands } from '../support/world.ts'

const reserve = defineBranch('reserve', { to: stockCommands })
const definition = defineGlobalTransaction('crash', { input: z.object({}), branches: [reserve] })
const effect = async (on: SqlExecutor, id: string, what: string): Promise<void> =>
  void (await on.query('INSERT INTO global_crash VALUES ($1, $2)', [id, what]))

const world = crashWorld({
  name: 'global',
  sagas: [definition],
  tables: 'CREATE TABLE global_crash (id text, what text)',
  participant: (side) =>
    tccParticipant(
      stockCommands,
      { group: 'stock', backoff: FAST, ...side },
      {
        try: async ({ sku }, { tx, sagaId }) => {
          await effect(tx, sagaId, `try ${sku}`)
          if (sku === 'none left') throw new Refusal('stock.none', 'none left')
        },
        confirm: ({ sku }, { tx, sagaId }) => effect(tx, sagaId, `confirm ${sku}`),
        cancel: ({ sku }, { tx, sagaId, tried }) => effect(tx, sagaId, `cancel ${sku} ${tried}`),
      },
    ),
})

const THROWN = new Error('the code says no')

type Kind = 'calls two branches' | 'goes on without one that is refused' | 'throws'

const CODES: Readonly<Record<Kind, (global: GlobalTransaction) => Promise<unknown>>> = {
  'calls two branches': async (global) => {
    await global.call(reserve, { sku: 'a', n: 1 })
    await global.call(reserve, { sku: 'b', n: 1 })
    return 'done'
  },
  'goes on without one that is refused': async (global) => {
    await global.call(reserve, { sku: 'a', n: 1 })
    const refused = await global.call(reserve, { sku: 'none left', n: 1 }).catch((error: unknown) => error)
    if (!(refused instanceof BranchRefused)) throw refused
    await global.call(reserve, { sku: 'b', n: 1 })
    return 'done'
  },
  throws: async (global) => {
    await global.call(reserve, { sku: 'a', n: 1 })
    await global.call(reserve, { sku: 'b', n: 1 })
    throw THROWN
  },
}

async function effects(id: string): Promise<readonly string[]> {
  const { rows } = await world.sql.query<{ what: string }>(
    'SELECT what FROM global_crash WHERE id = $1 ORDER BY what',
    [id],
  )
  return rows.map(({ what }) => what)
}

/** Outcome of the transaction, seen by the next process. */
async function fate(coordinator: Coordinator, id: string, kind: Kind): Promise<'confirmed' | 'cancelled'> {
  try {
    const options = { id, input: {}, timeoutMs: 30_000 }
    expect(await coordinator.globalTransaction(definition, options, CODES[kind]), id).toBe('done')
    return 'confirmed'
  } catch (error) {
    if (error === THROWN || hasCode(error, 'saga.transaction_cancelled')) return 'cancelled'
    throw error
  }
}

async function dieAt(
  n: number,
  when: 'before' | 'after',
  kind: Kind,
): Promise<{ readonly died: boolean; readonly fate: string }> {
  const id = `${kind} ${when} ${n}`
  let told = ''
  const died = await world.dieAt(n, when, {
    first: (coordinator) => fate(coordinator, id, kind),
    second: async (coordinator) => {
      told = await fate(coordinator, id, kind)
      expect(await fate(coordinator, id, kind), `${id}: told again`).toBe(told)
    },
  })
  const done = await effects(id)
  const tried = done.filter((what) => what.startsWith('try ')).map((what) => what.slice('try '.length))
  expect(['a', 'b', undefined], `${id}: each tried once`).toEqual(expect.arrayContaining([...tried, undefined]))
  const after = tried.map((sku) => (told === 'confirmed' ? `confirm ${sku}` : `cancel ${sku} true`))
  expect(done, id).toEqual([...after, ...tried.map((sku) => `try ${sku}`)].toSorted())
  if (told === 'confirmed') expect(tried, id).toEqual(['a', 'b'])
  return { died, fate: told }
}

describe.each(Object.keys(CODES) as Kind[])('a process that dies in a transaction whose code %s', (kind) => {
  test.each(['before', 'after'] as const)(
    'at any statement or commit, %s its execution: each branch is confirmed once, or cancelled once',
    { timeout: 240_000 },
    async (when) => {
      const fates = new Set<string>()
      let deaths = 0
      for (let n = 1; ; n += STRIDE) {
        const { died, fate: told } = await dieAt(n, when, kind)
        fates.add(told)
        if (!died) break
        deaths = n
      }
      expect(deaths).toBeGreaterThan(8)
      expect([...fates].toSorted()).toEqual(kind === 'throws' ? ['cancelled'] : ['cancelled', 'confirmed'])
    },
  )
})
