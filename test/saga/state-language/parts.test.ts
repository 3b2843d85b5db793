/** The parts of the state language beyond states in a row: retries, machines in machines, loops, scripts. */

import { importStateMachine } from '@concordat/state-language'
import { DAY } from 'concordat/core'
import { describe, expect, test } from 'vitest'
import { storyOf, threw } from '../support/machine-story.ts'
import {
  BY_RESULT,
  CATCH_ALL,
  DemoError,
  machine,
  machineRunner,
  reduceMachine,
  Shop,
  services,
  task,
} from '../support/machines.ts'

const ran = machineRunner()
const broken = (): Error => new DemoError('broken')
const refusing = (): Error =>
  Object.assign(new Error('connect ECONNREFUSED'), { code: 'ECONNREFUSED', syscall: 'connect' })

describe('retries', () => {
  const json = (retry: readonly object[]) =>
    machine('retries', 'A', { A: task('a', 'reduce', { IsForUpdate: true, Retry: retry, Next: 'Succeed' }) })

  test('an exception of the rule is tried again, so often; each under the key of the first', async () => {
    const shop = new Shop().plan('a.reduce', broken(), broken())
    const rules = [{ Exceptions: ['demo.DemoError'], IntervalSeconds: 0.001, MaxAttempts: 2, BackoffRate: 1.5 }]
    const { end, run, states } = await ran(json(rules), { services: services(shop, 'a') })
    expect(await end()).toEqual(['completed', 'SU', null])
    expect(shop.calls).toHaveLength(3)
    expect(await states()).toBe('A SU')
    const done = (await run.report()).timeline.map(({ kind, step }) => `${kind} ${step}`)
    expect(done).toEqual(
      expect.arrayContaining([
        'invoked A',
        'invoked A pause 1',
        'invoked A retry 1',
        'invoked A pause 2',
        'invoked A retry 2',
      ]),
    )
  })

  test('the attempts are counted by each rule, and another exception is not tried again', async () => {
    const shop = new Shop().plan('a.reduce', broken(), refusing(), new RangeError('other'))
    const rules = [{ Exceptions: ['demo.DemoError'], MaxAttempts: 1 }, { MaxAttempts: 1 }]
    const { end } = await ran(json(rules), { services: services(shop, 'a') })
    expect(await end()).toEqual(['stuck', 'UN', null])
    expect(shop.calls).toHaveLength(3)
  })

  test('the pauses grow by the interval times the rate', async () => {
    const shop = new Shop().plan('a.reduce', broken(), broken(), broken())
    const rules = [{ Exceptions: ['java.lang.Exception'], IntervalSeconds: 0.002, MaxAttempts: 3, BackoffRate: 1.5 }]
    const { end, run } = await ran(json(rules), { services: services(shop, 'a') })
    await end()
    const pauses = (await run.report()).steps.filter(({ step }) => step.includes('pause')).map(({ payload }) => payload)
    expect(pauses).toEqual([{ ms: 2 }, { ms: 3 }, { ms: 6 }])
  })

  test('a pause is at most as long as a timer, with any growth of the pauses', () => {
    const rules = [{ Exceptions: ['Error'], IntervalSeconds: 1e9, MaxAttempts: 2, BackoffRate: 1e9 }]
    const first = { type: 'armed', step: 'A pause 1', ms: 1 } as const
    const story = storyOf(json(rules)).when(threw('A'), first, { type: 'due' }, threw('A retry 1'))
    const pauses = story.state.steps.filter(({ step }) => step.includes('pause')).map(({ payload }) => payload)
    expect(pauses).toEqual([{ ms: 1e12 }, { ms: 10_000 * 365 * DAY }])
  })
})

describe('a machine in a machine', () => {
  const sub = machine('sub', 'Balance', {
    Balance: task('balance', 'reduce', {
      CompensateState: 'UndoBalance',
      Input: ['$.[account]'],
      Output: { paid: '$.#root' },
      Status: BY_RESULT,
      Catch: CATCH_ALL,
      Next: 'Succeed',
    }),
    UndoBalance: task('balance', 'compensate', { Input: ['$.[account]'] }),
  })
  const parent = (more: Readonly<Record<string, unknown>> = {}) =>
    machine('parent', 'Inventory', {
      Inventory: task('inventory', 'reduce', { CompensateState: 'UndoInventory', Next: 'Pay', Status: BY_RESULT }),
      UndoInventory: task('inventory', 'compensate'),
      Pay: {
        Type: 'SubStateMachine',
        StateMachineName: 'sub',
        Input: [{ account: '$.[businessKey]' }],
        Output: { paid: '$.[paid]', how: '$.[_sub_statemachine_execution_status_]' },
        Next: 'Ship',
        ...more,
      },
      Ship: task('ship', 'reduce', {
        IsForUpdate: true,
        Catch: CATCH_ALL,
        CompensateState: 'UndoShip',
        Next: 'Succeed',
      }),
      UndoShip: task('ship', 'compensate'),
    })
  const start = (shop: Shop, more?: Readonly<Record<string, unknown>>) =>
    ran(parent(more), { services: services(shop, 'inventory', 'balance', 'ship'), machines: [sub] })

  test('its end is the value of the state', async () => {
    const { end, outcome, states } = await start(new Shop())
    expect(await end()).toEqual(['completed', 'SU', null])
    expect((await outcome()).endParams).toMatchObject({ paid: true, how: 'SU' })
    expect(await states()).toBe('Inventory SU, Pay SU, .Balance SU, Ship SU')
  })

  test('is undone as a whole, in its turn', async () => {
    const shop = new Shop().plan('ship.reduce', broken())
    const { end } = await start(shop)
    expect(await end()).toEqual(['compensated', 'UN', 'SU'])
    expect(shop.calls.slice(3)).toEqual(['ship.compensate', 'balance.compensate b-1', 'inventory.compensate'])
  })

  test('a sub-machine that undid itself counts as failed; forward makes it again from its start', async () => {
    const shop = new Shop().plan('balance.reduce', broken())
    const { end, order, states } = await start(shop)
    expect(await end()).toEqual(['stuck', 'UN', null])
    expect(await states()).toBe('Inventory SU, Pay FA, .Balance UN, .UndoBalance SU, Ship SU')
    expect(await order('compensate')).toEqual(['compensated', 'UN', 'SU'])
  })

  test('a sub-machine with an unknown outcome is continued', async () => {
    const open = structuredClone(sub) as { States: Record<string, Record<string, unknown>> }
    delete (open.States['Balance'] as Record<string, unknown>)['Catch']
    const shop = new Shop().plan('balance.reduce', broken())
    const json = parent({ Next: 'Asked' }) as { States: Record<string, unknown> }
    json.States['Asked'] = {
      Type: 'Choice',
      Choices: [{ Expression: "[how] == 'SU'", Next: 'Ship' }],
      Default: 'Fail',
    }
    const options = { services: services(shop, 'inventory', 'balance', 'ship'), machines: [open] }
    const { end, order, states } = await ran(json, options)
    expect(await end()).toEqual(['stuck', 'UN', null])
    expect(await order('retry')).toEqual(['completed', 'SU', null])
    expect(await states()).toBe(
      'Inventory SU, Pay UN (again), .Balance UN (again), .Balance SU, Pay SU, .Balance UN (again), .Balance SU, Ship SU',
    )
    expect(shop.calls).toEqual(['inventory.reduce', 'balance.reduce b-1', 'balance.reduce b-1', 'ship.reduce'])
  })

  test('a state of the user can undo it', async () => {
    const json = parent({ CompensateState: 'UndoPay' }) as { States: Record<string, unknown> }
    json.States['UndoPay'] = { Type: 'CompensateSubMachine', Input: [{ account: '$.[businessKey]' }] }
    const shop = new Shop().plan('ship.reduce', broken())
    const options = { services: services(shop, 'inventory', 'balance', 'ship'), machines: [sub] }
    const { end, states } = await ran(json, options)
    expect(await end()).toEqual(['compensated', 'UN', 'SU'])
    expect(await states()).toContain('UndoPay SU')
  })
})

describe('a loop', () => {
  const json = (loop: object, more: object = {}) =>
    machine('loops', 'Notify', {
      Notify: task('a', 'reduce', {
        CompensateState: 'Undo',
        Input: ['$.[item]', '$.[n]'],
        Output: { told: '$.#root' },
        Loop: { Parallel: 1, Collection: '$.[items]', ElementVariableName: 'item', ElementIndexName: 'n', ...loop },
        Catch: CATCH_ALL,
        Next: 'Succeed',
        ...more,
      }),
      Undo: task('a', 'compensate', { Input: ['$.[item]'] }),
    })
  const start = (shop: Shop, definition: unknown, items: unknown = ['x', 'y', 'z']) =>
    ran(definition, { services: services(shop, 'a') }, { items })

  test('makes the state for each element', async () => {
    const shop = new Shop().plan('a.reduce', 1, 2, 3)
    const { end, outcome, states } = await start(shop, json({ Parallel: 2 }))
    expect(await end()).toEqual(['completed', 'SU', null])
    expect(shop.calls).toEqual(['a.reduce x 0', 'a.reduce y 1', 'a.reduce z 2'])
    expect((await outcome()).endParams).toMatchObject({ loopResult: [{ told: 1 }, { told: 2 }, { told: 3 }] })
    expect(await states()).toBe('Notify-loop-0 SU, Notify-loop-1 SU, Notify-loop-2 SU')
  })

  test('a failing item begins no more, and all are undone with their elements, the last one first', async () => {
    const shop = new Shop().plan('a.reduce', 1, broken())
    const { end } = await start(shop, json({}))
    expect(await end()).toEqual(['compensated', 'UN', 'SU'])
    expect(shop.calls).toEqual(['a.reduce x 0', 'a.reduce y 1', 'a.compensate y', 'a.compensate x'])
  })

  test('is over when its condition holds', async () => {
    const shop = new Shop()
    const { end } = await start(
      shop,
      json({ CompletionCondition: '[nrOfCompletedInstances] / [nrOfInstances] >= 0.5' }),
    )
    expect(await end()).toEqual(['completed', 'SU', null])
    expect(shop.calls).toHaveLength(2)
  })

  test('a collection that is empty, or missing, makes the state once', async () => {
    const shop = new Shop()
    const { end, states } = await start(shop, json({}), [])
    expect(await end()).toEqual(['completed', 'SU', null])
    expect(await states()).toBe('Notify SU')
  })

  test('forward makes the elements that failed, and those that were not begun', async () => {
    const shop = new Shop().plan('a.reduce', 1, broken())
    const { end, order } = await start(shop, json({}, { Catch: [] }))
    expect(await end()).toEqual(['stuck', 'UN', null])
    expect(await order('retry')).toEqual(['completed', 'SU', null])
    expect(shop.calls).toEqual(['a.reduce x 0', 'a.reduce y 1', 'a.reduce y 1', 'a.reduce z 2'])
  })
})

describe('scripts and other parts', () => {
  test('a script is a function given for its state, and its exceptions are those of the machine', async () => {
    const json = machine('scripted', 'Script', {
      Script: {
        Type: 'ScriptTask',
        ScriptType: 'groovy',
        ScriptContent: 'a + b',
        Input: [{ a: '$.[a]', b: '$.[b]' }],
        Output: { sum: '$.#root' },
        Catch: CATCH_ALL,
        Next: 'Asked',
      },
      Asked: { Type: 'Choice', Choices: [{ Expression: '[sum] == 3', Next: 'Succeed' }], Default: 'Fail' },
    })
    const scripts = { Script: ({ a, b }: { a: number; b: number }) => a + b }
    const { end, states } = await ran(json, { services: {}, scripts }, { a: 1, b: 2 })
    expect(await end()).toEqual(['completed', 'SU', null])
    expect(await states()).toBe('')
  })

  test('an exception is recognized by its given class', async () => {
    const json = machine('told', 'A', {
      A: task('a', 'reduce', { Catch: [{ Exceptions: ['com.example.NoStock'], Next: 'Succeed' }], Next: 'Fail' }),
    })
    const shop = new Shop().plan('a.reduce', Object.assign(new Error('none'), { code: 'stock.none' }))
    const exceptions = { 'com.example.NoStock': 'stock.none', 'com.example.Other': DemoError }
    const { end, states } = await ran(json, { services: services(shop, 'a'), exceptions })
    expect(await states()).toBe('A FA')
    expect(await end()).toEqual(['compensated', 'FA', null])
  })

  test('a service that takes too long counts as a read timeout', async () => {
    const json = machine('slow', 'A', { A: task('a', 'reduce', { IsForUpdate: true, Next: 'Succeed' }) })
    const slow = { a: { reduce: () => new Promise(() => {}) } }
    const { end, outcome } = await ran(json, { services: slow, timeoutMs: 20 })
    expect(await end()).toEqual(['stuck', 'UN', null])
    expect((await outcome()).exception?.name).toBe('SocketTimeoutException')
  })

  test('the text of an exception is stored without unstorable characters', async () => {
    const json = machine('odd', 'A', { A: task('a', 'reduce', { IsForUpdate: true, Next: 'Succeed' }) })
    const odd = Object.assign(new Error(`a\0b\ud800${'x'.repeat(496)}😀 more`), { code: 'odd\0code' })
    const { end, outcome } = await ran(json, { services: services(new Shop().plan('a.reduce', odd), 'a') })
    expect(await end()).toEqual(['stuck', 'UN', null])
    const { name, message } = (await outcome()).exception ?? {}
    expect(name).toBe('oddcode')
    expect(message).toBe(`ab\ufffd${'x'.repeat(496)}\ufffd`)
  })

  test('states may be called like rows of the saga', async () => {
    const names = ['machine', 'outcome', 'recovery 1', 'task', 'pause', 'task retry 1']
    const states = names.map((name, n) => [
      name,
      task('a', 'reduce', { CompensateState: 'recovery', Input: [name], Next: names[n + 1] ?? 'Succeed' }),
    ])
    const json = machine('rows', 'machine', { ...Object.fromEntries(states), recovery: task('a', 'compensate') })
    const shop = new Shop()
    const { end, order } = await ran(json, { services: services(shop, 'a') })
    expect(await end()).toEqual(['completed', 'SU', null])
    expect(shop.calls).toEqual(names.map((name) => `a.reduce ${name}`))
    expect(await order('compensate')).toEqual(['compensated', 'SU', 'SU'])
    expect(shop.calls).toHaveLength(2 * names.length)
  })

  test('a sequence is a business key, and a variable', async () => {
    const shop = new Shop()
    const json = machine('keys', 'A', {
      A: task('a', 'reduce', { Input: ['$Sequence.BUSINESS_KEY|SIMPLE'], Next: 'Succeed' }),
    })
    const { end, outcome } = await ran(json, { services: services(shop, 'a') })
    expect(await end()).toEqual(['completed', 'SU', null])
    const [, key] = /^a.reduce (m\d+\/x-A)$/.exec(shop.calls[0] ?? '') ?? []
    expect(key).toBeDefined()
    expect((await outcome()).endParams).toMatchObject({ A_business_key_: key })
  })

  test('a machine is imported from text as well', () => {
    const options = { services: services(new Shop(), 'inventory', 'balance') }
    const saga = importStateMachine(JSON.stringify(reduceMachine), options)
    expect(saga.graphHash).toBe(importStateMachine(reduceMachine, options).graphHash)
    expect(saga.name).toBe('reduceInventoryAndBalance')
  })
})
