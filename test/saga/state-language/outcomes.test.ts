/** Machines written by the rules of Seata's own tests: the outcome of its engine, and the order of its compensations. */
import { describe, expect, test } from 'vitest'
import {
  CATCH_ALL,
  DemoError,
  machine,
  machineRunner,
  type Params,
  reduceMachine,
  Shop,
  services,
  task,
} from '../support/machines.ts'

const ran = machineRunner()
const broken = (): Error => new DemoError('broken')
const refusing = (): Error =>
  Object.assign(new Error('connect ECONNREFUSED'), { code: 'ECONNREFUSED', syscall: 'connect' })

describe('two services with compensations', () => {
  const start = (shop: Shop, params: Params = { count: 10, amount: 100 }) =>
    ran(reduceMachine, { services: services(shop, 'inventory', 'balance') }, params)

  test('succeed', async () => {
    const shop = new Shop()
    const { end, outcome } = await start(shop)
    expect(await end()).toEqual(['completed', 'SU', null])
    expect(shop.calls).toEqual(['inventory.reduce b-1 10', 'balance.reduce b-1 {"amount":100}'])
    expect((await outcome()).endParams).toMatchObject({ reduceInventoryResult: true, reduceBalanceResult: true })
  })

  test('an exception that is caught leads to the trigger, which undoes also unknown states, the last one first', async () => {
    const shop = new Shop().plan('balance.reduce', broken())
    const { end, states, outcome } = await start(shop)
    expect(await end()).toEqual(['compensated', 'UN', 'SU'])
    expect(shop.calls.slice(2)).toEqual(['balance.compensate b-1', 'inventory.compensate b-1'])
    expect(await states()).toBe(
      'ReduceInventory SU, ReduceBalance UN, CompensateReduceBalance SU, CompensateReduceInventory SU',
    )
    expect(await outcome()).toMatchObject({
      exception: { name: 'DemoError', message: 'broken' },
      endParams: { _statemachine_error_code_: 'PURCHASE_FAILED' },
    })
  })

  test('a refusing result fails it, and changes nothing: it is over without a compensation', async () => {
    const { end, states } = await start(new Shop().plan('inventory.reduce', false))
    expect(await end()).toEqual(['compensated', 'FA', null])
    expect(await states()).toBe('ReduceInventory FA')
  })

  test('an exception that nothing catches ends it as unknown; forward repeats the state, and continues', async () => {
    const shop = new Shop().plan('inventory.reduce', broken())
    const { end, order, states } = await start(shop)
    expect(await end()).toEqual(['stuck', 'UN', null])
    expect(await order('retry')).toEqual(['completed', 'SU', null])
    expect(await states()).toBe('ReduceInventory UN (again), ReduceInventory SU, ReduceBalance SU')
  })

  test('compensate undoes unknown states', async () => {
    const shop = new Shop().plan('inventory.reduce', broken())
    const { order } = await start(shop)
    expect(await order('compensate')).toEqual(['compensated', 'UN', 'SU'])
    expect(shop.calls).toEqual(['inventory.reduce b-1 10', 'inventory.compensate b-1'])
  })

  test('forward after a failure without effects is taken of the ended saga', async () => {
    const { end, order } = await start(new Shop().plan('inventory.reduce', false))
    expect(await end()).toEqual(['compensated', 'FA', null])
    expect(await order('retry')).toEqual(['completed', 'SU', null])
  })

  test('compensate applies to one that succeeded', async () => {
    const shop = new Shop()
    const { end, order } = await start(shop)
    expect(await end()).toEqual(['completed', 'SU', null])
    expect(await order('compensate')).toEqual(['compensated', 'SU', 'SU'])
    expect(shop.calls.slice(2)).toEqual(['balance.compensate b-1', 'inventory.compensate b-1'])
    await expect(order('compensate')).resolves.toEqual(['compensated', 'SU', 'SU'])
    expect(shop.calls).toHaveLength(4)
  })

  test('a compensation that throws stops the rest: unknown, until an operator has it tried again', async () => {
    const shop = new Shop().plan('balance.reduce', broken()).plan('balance.compensate', broken())
    const { end, order, states } = await start(shop)
    expect(await end()).toEqual(['stuck', 'UN', 'UN'])
    expect(shop.calls.slice(2)).toEqual(['balance.compensate b-1'])
    expect(await order('compensate')).toEqual(['compensated', 'UN', 'SU'])
    expect(shop.calls.slice(3)).toEqual(['balance.compensate b-1', 'inventory.compensate b-1'])
    expect(await states()).toContain('CompensateReduceBalance UN, CompensateReduceBalance SU')
  })

  test('a compensation that never got through the network leaves it failed, and the rest is not begun', async () => {
    const json = structuredClone(reduceMachine) as { States: Record<string, Record<string, unknown>> }
    Object.assign(json.States['CompensateReduceBalance'] as object, { Catch: CATCH_ALL })
    const shop = new Shop().plan('balance.reduce', broken()).plan('balance.compensate', refusing())
    const { end } = await ran(json, { services: services(shop, 'inventory', 'balance') })
    expect(await end()).toEqual(['stuck', 'UN', 'FA'])
  })

  test('forward past a state that was not undone is denied while that is unknown', async () => {
    const shop = new Shop().plan('balance.reduce', broken()).plan('balance.compensate', broken())
    const { end, order } = await start(shop)
    expect(await end()).toEqual(['stuck', 'UN', 'UN'])
    expect(await order('retry')).toEqual(['stuck', 'UN', 'UN'])
    expect(shop.calls).toHaveLength(3)
  })

  test('skip leaves the failed state, and continues behind it', async () => {
    const shop = new Shop().plan('inventory.reduce', broken())
    const { order, states } = await start(shop)
    expect(await order('skip')).toEqual(['compensated', 'FA', null])
    expect(await states()).toBe('ReduceInventory UN (again)')
  })
})

describe('verdicts', () => {
  const one = (more: Readonly<Record<string, unknown>>, after: Readonly<Record<string, unknown>> = {}) =>
    machine('one', 'A', { A: task('a', 'reduce', { Next: 'Succeed', ...more }), ...after })
  const start = async (more: Readonly<Record<string, unknown>>, ...results: unknown[]) => {
    const shop = new Shop().plan('a.reduce', ...results)
    return (await ran(one(more), { services: services(shop, 'a') })).end()
  }

  test.each<[string, Readonly<Record<string, unknown>>, unknown, readonly [string, string, null]]>([
    ['no rule and no exception', {}, 7, ['completed', 'SU', null]],
    ['an exception of a query', {}, broken(), ['compensated', 'FA', null]],
    ['an exception of an update', { IsForUpdate: true }, broken(), ['stuck', 'UN', null]],
    ['an update that never got through', { IsForUpdate: true }, refusing(), ['compensated', 'FA', null]],
    ['no rule matches a query', { Status: { '#root == 1': 'SU' } }, 2, ['compensated', 'FA', null]],
    ['no rule matches an update', { IsForUpdate: true, Status: { '#root == 1': 'SU' } }, 2, ['stuck', 'UN', null]],
    ['a verdict that it failed does not stop it', { Status: { '#root == 2': 'FA' } }, 2, ['compensated', 'FA', null]],
    ['a verdict that it is unknown', { Status: { '#root.n > 1': 'UN' } }, { n: 2 }, ['stuck', 'UN', null]],
    ['the first rule that holds', { Status: { '#root > 1': 'SU', '#root == 2': 'FA' } }, 2, ['completed', 'SU', null]],
    [
      'a verdict that it succeeded swallows the exception',
      { Status: { '$Exception{demo.DemoError}': 'SU' } },
      broken(),
      ['completed', 'SU', null],
    ],
    [
      'another exception than that of the rule',
      { IsForUpdate: true, Status: { '#root == 1': 'SU', '$Exception{demo.OtherError}': 'FA' } },
      broken(),
      ['stuck', 'UN', null],
    ],
  ])('%s', async (_, more, result, end) => {
    expect(await start(more, result)).toEqual(end)
  })

  test('a failed verdict continues with the next state', async () => {
    const shop = new Shop()
    const json = machine('on', 'A', {
      A: task('a', 'reduce', { Status: { '#root == true': 'FA' }, Next: 'B' }),
      B: task('b', 'reduce', { Next: 'Succeed' }),
    })
    const { end, states } = await ran(json, { services: services(shop, 'a', 'b') })
    expect(await end()).toEqual(['compensated', 'FA', null])
    expect(await states()).toBe('A FA, B SU')
  })

  test('a failed state beside an update that succeeded leaves the machine unknown', async () => {
    const shop = new Shop().plan('b.reduce', broken())
    const json = machine('beside', 'A', {
      A: task('a', 'reduce', { IsForUpdate: true, Next: 'B' }),
      B: task('b', 'reduce', { Next: 'Succeed' }),
    })
    const { end } = await ran(json, { services: services(shop, 'a', 'b') })
    expect(await end()).toEqual(['stuck', 'UN', null])
  })

  test('a Fail state after an update that succeeded is unknown, after a query failed', async () => {
    const json = (more: object) => machine('fails', 'A', { A: task('a', 'reduce', { ...more, Next: 'Fail' }) })
    const query = await ran(json({}), { services: services(new Shop(), 'a') })
    expect(await query.end()).toEqual(['compensated', 'FA', null])
    const update = await ran(json({ IsForUpdate: true }), { services: services(new Shop(), 'a') })
    expect(await update.end()).toEqual(['stuck', 'UN', null])
    expect((await update.run.outcome()).status === 'stuck' && (await update.run.report()).failure?.code).toBe(
      'PURCHASE_FAILED',
    )
  })

  test('a choice without a match and a default ends it', async () => {
    const json = machine('none', 'C', {
      C: { Type: 'Choice', Choices: [{ Expression: '[n] == 1', Next: 'Succeed' }] },
    })
    const { end, outcome } = await ran(json, { services: {} }, { n: 2 })
    expect(await end()).toEqual(['compensated', 'FA', null])
    expect((await outcome()).exception?.name).toBe('StateMachineNoChoiceMatched')
  })

  test('a trigger with nothing to undo ends it where it is', async () => {
    const json = machine('nothing', 'A', { A: task('a', 'reduce', { Catch: CATCH_ALL, Next: 'Succeed' }) })
    const { end } = await ran(json, { services: services(new Shop().plan('a.reduce', broken()), 'a') })
    expect(await end()).toEqual(['compensated', 'FA', null])
  })

  test('an update without a compensation cannot be undone, and ends it', async () => {
    const json = machine('lost', 'A', {
      A: task('a', 'reduce', { IsForUpdate: true, Catch: CATCH_ALL, Next: 'Succeed' }),
    })
    const { end, outcome } = await ran(json, { services: services(new Shop().plan('a.reduce', broken()), 'a') })
    expect(await end()).toEqual(['stuck', 'UN', null])
    expect((await outcome()).exception?.name).toBe('CompensationStateNotFound')
  })
})

describe('a result that cannot be stored', () => {
  const cycle: unknown[] = []
  cycle.push(cycle)
  test.each([
    ['a bigint', 5n],
    ['a cycle', cycle],
    ['a NUL', 'a\0b'],
    ['half of a surrogate pair', '\ud800'],
    ['too many bytes', 'x'.repeat(2_000_000)],
  ])(
    '(%s) is an exception of its service: the machine decides what follows, and undoes unknown states',
    async (_, result) => {
      const shop = new Shop().plan('balance.reduce', result)
      const { end, states } = await ran(
        reduceMachine,
        { services: services(shop, 'inventory', 'balance') },
        { count: 1 },
      )
      expect(await end()).toEqual(['compensated', 'UN', 'SU'])
      expect(await states()).toContain('ReduceBalance UN, CompensateReduceBalance SU')
    },
  )
})
