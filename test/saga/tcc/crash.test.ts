/** The process that coordinates dies at any statement or commit of a saga that reserves; another one takes it over. */
import type { SqlExecutor } from 'concordat/core'
import { defineSaga, Refusal } from 'concordat/saga'
import type { Coordinator } from 'concordat/saga/coordinator'
import { tccParticipant } from 'concordat/saga/tcc'
import { describe, expect, test } from 'vitest'
import { z } from 'zod'
import { crashWorld } from '../support/crash-world.ts'
import { FAST, stockCommands } from '../support/world.ts'

const effect = async (on: SqlExecutor, id: string, what: string): Promise<void> =>
  void (await on.query('INSERT INTO tcc_crash VALUES ($1, $2)', [id, what]))

const saga = defineSaga('crash', { version: 1, input: z.object({ refuse: z.boolean() }) })
  .parallel((group) =>
    group
      .tcc('here', {
        retry: FAST,
        confirmRetry: FAST,
        try: ({ tx, sagaId }) => effect(tx, sagaId, 'try here'),
        confirm: ({ tx, sagaId }) => effect(tx, sagaId, 'confirm here'),
        cancel: ({ tx, sagaId, tried }) => effect(tx, sagaId, `cancel here ${tried}`),
      })
      .tcc('there', { to: stockCommands, request: () => ({ sku: 'a', n: 1 }) }),
  )
  .step('decide', {
    pivot: true,
    transactional: true,
    invoke: ({ input }) => {
      if (input.refuse) throw new Refusal('no', 'no')
    },
  })

const world = crashWorld({
  name: 'tcc',
  sagas: [saga],
  tables: 'CREATE TABLE tcc_crash (id text, what text)',
  participant: (side) =>
    tccParticipant(
      stockCommands,
      { group: 'stock', backoff: FAST, ...side },
      {
        try: (_, { tx, sagaId }) => effect(tx, sagaId, 'try there'),
        confirm: (_, { tx, sagaId }) => effect(tx, sagaId, 'confirm there'),
        cancel: (_, { tx, sagaId, tried }) => effect(tx, sagaId, `cancel there ${tried}`),
      },
    ),
})

/** Runs a process that dies at its n-th step, then a second one. False: it lived to the end. */
async function dieAt(n: number, when: 'before' | 'after', refuse: boolean): Promise<boolean> {
  const id = `${when}-${refuse}-${n}`
  const outcome = async (coordinator: Coordinator) =>
    (await coordinator.start(saga, { id, input: { refuse } })).outcome({ timeoutMs: 30_000 })
  const died = await world.dieAt(n, when, {
    first: outcome,
    second: async (coordinator) =>
      expect((await outcome(coordinator)).status, id).toBe(refuse ? 'compensated' : 'completed'),
  })
  const { rows } = await world.sql.query<{ what: string }>('SELECT what FROM tcc_crash WHERE id = $1 ORDER BY what', [
    id,
  ])
  const after = refuse ? ['cancel here true', 'cancel there true'] : ['confirm here', 'confirm there']
  const all = [...after, 'try here', 'try there']
  expect(
    rows.map(({ what }) => what),
    id,
  ).toEqual(all)
  return died
}

describe.each([false, true])('a coordinator that dies at any statement or commit, its saga refused: %s', (refuse) => {
  test.each(['before', 'after'] as const)(
    'leaves reserved work to the next one, %s its execution: confirmed or cancelled, each once',
    { timeout: 240_000 },
    async (when) => {
      let deaths = 0
      for (let n = 1; await dieAt(n, when, refuse); n++) deaths = n
      expect(deaths).toBeGreaterThan(8)
    },
  )
})
