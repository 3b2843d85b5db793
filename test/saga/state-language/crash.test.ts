/** A process that dies at any statement or commit while it runs a machine; another one continues. */

import { importStateMachine, type StateMachineOutcome } from '@concordat/state-language'
import { currentSaga, participant } from 'concordat/saga'
import type { Coordinator } from 'concordat/saga/coordinator'
import { describe, expect, test } from 'vitest'
import { crashWorld } from '../support/crash-world.ts'
import { BY_RESULT, CATCH_ALL, machine, task } from '../support/machines.ts'
import { FAST, stockCommands } from '../support/world.ts'

const calls: string[] = []
/** Deduplicates by key, as services must. */
const service = (name: string) => ({
  reduce: (id: string, item: unknown = '') => {
    calls.push(`${id} ${name} ${String(item)} ${currentSaga()?.key ?? ''}`)
    if (name === 'ship' && id.includes('fails')) throw new Error('broken')
    return true
  },
  compensate: (id: string, item: unknown = '') =>
    void calls.push(`${id} undo ${name} ${String(item)} ${currentSaga()?.key ?? ''}`),
})

const inner = machine('inner', 'Pay', {
  Pay: task('pay', 'reduce', { Input: ['$.[id]'], Status: BY_RESULT, CompensateState: 'Unpay', Next: 'Succeed' }),
  Unpay: task('pay', 'compensate', { Input: ['$.[id]'] }),
})
const outer = machine('outer', 'Pack', {
  Pack: task('pack', 'reduce', {
    Input: ['$.[id]', '$.[loopElement]'],
    Loop: { Parallel: 2, Collection: '$.[items]' },
    CompensateState: 'Unpack',
    Next: 'Paying',
  }),
  Unpack: task('pack', 'compensate', { Input: ['$.[id]', '$.[loopElement]'] }),
  Paying: { Type: 'SubStateMachine', StateMachineName: 'inner', Input: [{ id: '$.[id]' }], Next: 'Ship' },
  Ship: task('ship', 'reduce', {
    Input: ['$.[id]'],
    CompensateState: 'Unship',
    Catch: CATCH_ALL,
    Retry: [{ Exceptions: ['java.lang.Exception'], IntervalSeconds: 0.001, MaxAttempts: 1 }],
    Next: 'Succeed',
  }),
  Unship: task('ship', 'compensate', { Input: ['$.[id]'] }),
})
const saga = importStateMachine(outer, {
  machines: [inner],
  services: { pack: service('pack'), pay: service('pay'), ship: service('ship') },
})

const world = crashWorld({
  name: 'machines',
  sagas: [saga],
  tables: 'SELECT 1',
  participant: (side) =>
    participant(
      stockCommands,
      { group: 'stock', backoff: FAST, ...side },
      { invoke: () => undefined, compensate: () => undefined },
    ),
})

async function dieAt(n: number, when: 'before' | 'after', kind: 'works' | 'fails'): Promise<boolean> {
  const id = `${kind}|${when}|${n}`
  const outcome = async (coordinator: Coordinator) =>
    (await coordinator.start(saga, { id, input: { id, items: ['a', 'b', 'c'] } })).outcome({ timeoutMs: 20_000 })
  const died = await world.dieAt(n, when, {
    first: outcome,
    second: async (coordinator) => {
      const { results } = await outcome(coordinator)
      const { status, compensationStatus } = results.outcome as StateMachineOutcome
      expect([status, compensationStatus], id).toEqual(kind === 'works' ? ['SU', undefined] : ['UN', 'SU'])
    },
  })
  const made = ['pack a', 'pack b', 'pack c', 'pay ', 'ship ']
  const undone = kind === 'works' ? [] : ['undo ship ', 'undo pay ', 'undo pack c', 'undo pack b', 'undo pack a']
  const done = calls.filter((call) => call.startsWith(`${id} `)).map((call) => call.slice(id.length + 1))
  const withoutKeys = [...new Set(done.map((call) => call.slice(0, call.lastIndexOf(' '))))]
  expect(withoutKeys.toSorted(), id).toEqual([...made, ...undone].toSorted())
  if (kind === 'fails') expect(withoutKeys.slice(5), 'the last one first').toEqual(undone)
  const keys = new Set(done.map((call) => `${call.replace(/^undo /, '').slice(0, 6)} ${call.split(' ').at(-1) ?? ''}`))
  expect(keys.size, `${id}: what is repeated, and what undoes it, has one key`).toBe(made.length)
  return died
}

describe.each(['works', 'fails'] as const)('a machine that %s', (kind) => {
  test.each(['before', 'after'] as const)(
    'comes to its outcome when its process dies at any statement or commit, %s it is done',
    { timeout: 240_000 },
    async (when) => {
      let deaths = 0
      for (let n = 1; await dieAt(n, when, kind); n++) deaths = n
      // The number depends on which results are written together.
      expect(deaths).toBeGreaterThan(5)
    },
  )
})
