/** A process that dies at any statement or commit of a saga with a list, a choice and a forward block; another one finishes it. */
import type { SqlExecutor } from 'concordat/core'
import { defineSaga, participant, Refusal } from 'concordat/saga'
import type { Coordinator } from 'concordat/saga/coordinator'
import { describe, expect, test } from 'vitest'
import { z } from 'zod'
import { STRIDE } from '../../support/suite/night.ts'
import { crashWorld } from '../support/crash-world.ts'
import { FAST, stockCommands } from '../support/world.ts'

/** Asked again, the definition would say something else: each process sees other lists, and another branch. */
let processes = 0

const effect = async (on: SqlExecutor, id: string, what: string): Promise<void> =>
  void (await on.query('INSERT INTO list_effects VALUES ($1, $2)', [id, what]))

const saga = defineSaga('lists', { version: 1, input: z.object({ refuse: z.boolean() }) })
  .each('pack', {
    over: () => [`a${processes}`, `b${processes}`],
    transactional: true,
    retry: FAST,
    invoke: ({ tx, sagaId, item }) => effect(tx, sagaId, item),
    compensate: ({ tx, sagaId, item }) => effect(tx, sagaId, `undo ${item}`),
  })
  .choose('route', () => (processes % 2 === 0 ? 'air' : 'road'), {
    air: (air) =>
      air.each('reserve', {
        over: ({ sagaId }) => [`${sagaId}|air`, `${sagaId}|fuel`],
        atOnce: 2,
        to: stockCommands,
        request: ({ item }) => ({ sku: item, n: 1 }),
        compensate: true,
      }),
    road: (road) =>
      road.forward((block) =>
        block.step('drive', {
          transactional: true,
          invoke: ({ tx, sagaId }) => effect(tx, sagaId, 'drive'),
          compensate: ({ tx, sagaId }) => effect(tx, sagaId, 'undo drive'),
        }),
      ),
  })
  .step('end', {
    transactional: true,
    pivot: true,
    invoke: ({ input }) => {
      if (input.refuse) throw new Refusal('no', 'no')
    },
  })

const world = crashWorld({
  name: 'lists',
  sagas: [saga],
  tables: 'CREATE TABLE list_effects (id text, what text)',
  participant: (side) =>
    participant(
      stockCommands,
      { group: 'stock', backoff: FAST, ...side },
      {
        invoke: ({ sku }, { tx, sagaId }) => effect(tx, sagaId, sku.split('|')[1] ?? ''),
        compensate: ({ sku }, { tx, sagaId }) => effect(tx, sagaId, `undo ${sku.split('|')[1] ?? ''}`),
      },
    ),
})

async function dieAt(n: number, when: 'before' | 'after', refuse: boolean): Promise<boolean> {
  const id = `${when} ${refuse} ${n}`
  const outcome = async (coordinator: Coordinator) =>
    (await coordinator.start(saga, { id, input: { refuse } })).outcome({ timeoutMs: 20_000 })
  const died = await world.dieAt(n, when, {
    first: (coordinator) => {
      processes++
      return outcome(coordinator)
    },
    second: async (coordinator) => {
      processes++
      expect((await outcome(coordinator)).status, id).toBe(refuse ? 'compensated' : 'completed')
      const { steps } = await coordinator.get(saga, id).report()
      await expectEffects(id, refuse, steps.find(({ step }) => step === 'route')?.result)
    },
  })
  return died
}

/** All of one plan and of one branch, each once; undone, when it was refused. */
async function expectEffects(id: string, refuse: boolean, branch: unknown): Promise<void> {
  const { rows } = await world.sql.query<{ what: string }>('SELECT what FROM list_effects WHERE id = $1', [id])
  const made = rows.map(({ what }) => what).filter((what) => !what.startsWith('undo '))
  const planned = made.find((what) => /^a\d/.test(what))?.slice(1)
  const all = [`a${planned}`, `b${planned}`, ...(branch === 'air' ? ['air', 'fuel'] : ['drive'])]
  const undone = refuse ? all.map((what) => `undo ${what}`) : []
  expect(rows.map(({ what }) => what).toSorted(), id).toEqual([...all, ...undone].toSorted())
}

describe('a coordinator that dies at any statement or commit', () => {
  for (const refuse of [false, true]) {
    for (const when of ['before', 'after'] as const) {
      const title = `${when} it is done, leaves a plan and a choice that another one keeps to: it ${refuse ? 'undoes' : 'completes'} them`
      test(title, { timeout: 240_000 }, async () => {
        let deaths = 0
        for (let n = 1; await dieAt(n, when, refuse); n += STRIDE) deaths = n
        expect(deaths).toBeGreaterThan(5)
      })
    }
  }
})
