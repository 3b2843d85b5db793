import { defineChannel } from 'concordat/binder'
import { defineSaga } from 'concordat/saga'
import { createCoordinator } from 'concordat/saga/coordinator'
import { describe, expect, test } from 'vitest'
import { z } from 'zod'
import type { CoordinatorOptions } from '../../support/inside/saga.ts'

const input = z.object({ n: z.number() })
const begin = defineSaga('s', { version: 1, input })
const none = { invoke: () => 1, compensate: 'none' } as const
const channel = defineChannel('c', { payload: z.object({ n: z.number() }) })

describe('a definition', () => {
  test('is frozen, and each call gives a new one', () => {
    const one = begin.step('a', none)
    expect(begin.steps).toHaveLength(0)
    expect(one.steps).toHaveLength(1)
    expect(Object.isFrozen(one) && Object.isFrozen(one.steps) && Object.isFrozen(one.steps[0])).toBe(true)
  })

  test('has a hash of its graph that timeouts and retries do not change', () => {
    const one = begin.step('a', none)
    expect(begin.step('a', { ...none, timeoutMs: 5, retry: { maxAttempts: 9 } }).graphHash).toBe(one.graphHash)
    const others = [
      begin.step('b', none),
      begin.step('a', { ...none, transactional: true }),
      begin.step('a', { ...none, pivot: true }),
      begin.step('a', { ...none, compensate: () => {} }),
      begin.command('a', { to: channel, request: () => ({ n: 1 }), compensate: 'none' }),
      defineSaga('s', { version: 2, input }).step('a', none),
      begin.timer('a', { delay: 1 }),
      begin.saga('a', { saga: begin.step('a', none), input: ({ input: { n } }) => ({ n }), compensate: 'none' }),
      begin.parallel((group) => group.step('a', none)),
      begin.when(
        () => true,
        (saga) => saga.step('a', none),
      ),
      begin.signal('a', { payload: input }),
      begin.each('a', { ...none, over: () => [1] }),
      begin.each('a', { ...none, over: () => [1], transactional: true }),
      begin.each('a', { over: () => [1], to: channel, request: () => ({ n: 1 }), compensate: 'none' }),
      begin.forward((saga) => saga.step('a', none)),
      begin.choose('a', () => 'x', { x: (saga) => saga, y: (saga) => saga }),
      begin.choose('a', () => 'x', { x: (saga) => saga, z: (saga) => saga }),
      begin.signal('a', { from: channel, correlate: () => 'x' }),
      defineSaga('t', { version: 1, input }).step('a', none),
    ]
    expect(new Set([one, ...others].map(({ graphHash }) => graphHash)).size).toBe(others.length + 1)
  })

  test('has the hash that its open sagas were started with, with all kinds of steps', () => {
    const child = begin.step('a', none)
    const all = begin
      .step('local', { ...none, transactional: true })
      .command('command', { to: channel, request: () => ({ n: 1 }), compensate: true })
      .saga('saga', { saga: child, input: ({ input: { n } }) => ({ n }), compensate: 'none' })
      .timer('timer', { delay: 1 })
      .signal('signal', { payload: input })
      .signal('message', { from: channel, correlate: () => 'x' })
      .when(
        () => true,
        (saga) => saga.parallel((group) => group.step('left', none).timer('right', { delay: 1 })),
      )
      .step('pivot', { invoke: () => 1, pivot: true })
    const grows = begin
      .each('list', { ...none, over: () => [1], atOnce: 2 })
      .choose('route', () => 'x', { x: (saga) => saga.step('a', none), y: (saga) => saga })
      .forward((saga) => saga.step('b', none))
    expect(grows.graphHash).toBe('700fe89b41dd8027f08c58a084878db2f37e26a62d7cd8b71ce038909b978aa3')
    expect(child.graphHash).toBe('6e954c0634af8b7453a3349ad7db8dce530e1ed2a69de57301a8930cfc666786')
    expect(all.graphHash).toBe('8388fdd7f3316d3773c1f670cf6020973e5726916f35e2c3d15914e23f94662a')
  })

  test.each<[string, () => unknown, string]>([
    [
      'a step twice',
      () => begin.step('a', none).step('a' as never, none),
      'defineSaga("s"): two steps are called "a", rename one of them',
    ],
    [
      'no compensation',
      () => begin.step('a', { invoke: () => 1 } as never),
      `defineSaga("s").step("a").compensate: not stated. Say how to undo the step, or 'none' when there is nothing to undo.`,
    ],
    [
      'a compensation of the pivot',
      () => begin.step('a', { pivot: true, invoke: () => 1, compensate: () => {} } as never),
      `defineSaga("s").step("a").compensate: the pivot cannot be undone, there is only forward. Say 'none', or move the pivot down.`,
    ],
    [
      'a compensation after the pivot',
      () => begin.step('p', { pivot: true, invoke: () => 1 }).step('a', { ...none, compensate: (() => {}) as never }),
      `defineSaga("s").step("a").compensate: a step after the pivot cannot be undone, there is only forward. Say 'none', or move the pivot down.`,
    ],
    [
      'two pivots',
      () => begin.step('p', { pivot: true, invoke: () => 1 }).step('a', { pivot: true, invoke: () => 1 } as never),
      'defineSaga("s").step("a").pivot: the saga already has a pivot, remove one of them',
    ],
    [
      'a bad step name',
      () => begin.step('a/b', none),
      'defineSaga("s").step: expected a name of 1 to 100 characters out of A-Z a-z 0-9 . _ -, got "a/b"',
    ],
    [
      'no function',
      () => begin.step('a', { compensate: 'none' } as never),
      'defineSaga("s").step("a").invoke: expected a function, got undefined',
    ],
    [
      'a condition that is none',
      () => begin.when(true as never, (saga) => saga),
      'defineSaga("s").when: expected a function that returns true or false, got true',
    ],
    [
      'a condition over nothing',
      () =>
        begin.when(
          () => true,
          (saga) => saga,
        ),
      'defineSaga("s").when: the function must return what it was given with steps added: (saga) => saga.step(...)',
    ],
    [
      'a conditional pivot',
      () => begin.when(() => true, ((saga: typeof begin) => saga.step('p', { pivot: true, invoke: () => 1 })) as never),
      'defineSaga("s").when: the pivot "p" cannot be left out. Put it before or after the condition.',
    ],
    [
      'a group that is no function',
      () => begin.parallel({} as never),
      'defineSaga("s").parallel: expected a function: (saga) => saga.step(...), got {}',
    ],
    [
      'a pivot in a group',
      () => begin.parallel(((group: typeof begin) => group.step('p', { pivot: true, invoke: () => 1 })) as never),
      'defineSaga("s").parallel: the pivot "p" must stand alone. Put it after the group.',
    ],
    [
      'a list without items',
      () => begin.each('a', { ...none } as never),
      'defineSaga("s").each("a").over: expected a function that gives the items, got undefined',
    ],
    [
      'a list of too many items',
      () => begin.each('a', { ...none, over: () => [1], maxItems: 1_001 }),
      'defineSaga("s").each("a").maxItems: expected a whole number >= 1 and <= 1000, got 1001',
    ],
    [
      'a list as the pivot',
      () => begin.each('a', { ...none, over: () => [1], pivot: true } as never),
      'defineSaga("s").each("a").pivot: the pivot is one step, not a list. Put it before or after the list.',
    ],
    [
      'a list that does not say how its items are undone',
      () => begin.each('a', { invoke: () => 1, over: () => [1] } as never),
      'defineSaga("s").each("a").compensate: not stated.',
    ],
    [
      'an option that a list does not know',
      () => begin.each('a', { ...none, over: () => [1], parallel: 3 } as never),
      'defineSaga("s").each("a")',
    ],
    [
      'a choice of one branch',
      () => begin.choose('c', () => 'a', { a: (saga) => saga }),
      'defineSaga("s").choose("c").branches: expected an object of at least two branches',
    ],
    [
      'a branch that is no function',
      () => begin.choose('c', () => 'a', { a: (saga) => saga, b: 1 as never }),
      'defineSaga("s").choose("c").b: expected a function: (saga) => saga.step(...), got 1',
    ],
    [
      'a choice without a function that chooses',
      () => begin.choose('c', 'a' as never, { a: (saga) => saga, b: (saga) => saga }),
      'defineSaga("s").choose("c").by: expected a function that gives the name of a branch, got "a"',
    ],
    [
      'a pivot in a branch',
      () =>
        begin.choose('c', () => 'a', {
          a: (saga) => saga.step('p', { pivot: true, invoke: () => 1 }),
          b: (saga) => saga,
        }),
      'defineSaga("s").choose: the pivot "p" cannot be within it. Put it before or after.',
    ],
    [
      'a choice within a group',
      () =>
        begin.parallel(((group: typeof begin) =>
          group.choose('c', () => 'a', { a: (saga) => saga, b: (saga) => saga })) as never),
      'defineSaga("s").parallel: no .choose within a group, put the group into it',
    ],
    [
      'a pivot in a forward block',
      () => begin.forward(((saga: typeof begin) => saga.step('p', { pivot: true, invoke: () => 1 })) as never),
      'defineSaga("s").forward: the pivot "p" cannot be within it. Put it before or after.',
    ],
    [
      'a forward block after the pivot',
      () => (begin.step('p', { pivot: true, invoke: () => 1 }) as unknown as typeof begin).forward((saga) => saga),
      'defineSaga("s").forward: after the pivot there is only forward, add the steps as they are',
    ],
    [
      'a block that adds nothing to a group after the pivot',
      () => begin.step('p', { pivot: true, invoke: () => 1 }).parallel((group) => group),
      'defineSaga("s").parallel: the function must return what it was given with steps added',
    ],
    [
      'a condition within a group',
      () =>
        begin.parallel(((group: typeof begin) =>
          group.when(
            () => true,
            (saga) => saga.step('a', none),
          )) as never),
      'defineSaga("s").parallel: no .when within a group, put the group into it',
    ],
    [
      'a step that is no saga',
      () => begin.saga('t', { saga: {}, input: () => ({ n: 1 }), compensate: true } as never),
      'defineSaga("s").saga("t").saga: expected a saga made by defineSaga, got {}',
    ],
    [
      'an undoing of what cannot be undone',
      () =>
        begin.saga('t', {
          saga: begin.step('p', { pivot: true, invoke: () => 1 }),
          input: () => ({ n: 1 }),
          compensate: true,
        }),
      `defineSaga("s").saga("t").compensate: "s" cannot be undone, its step "p" is a pivot. Say 'none', or take the pivot out.`,
    ],
    [
      'a saga as a step that does not say how it is undone',
      () => begin.saga('t', { saga: begin.step('a', none), input: () => ({ n: 1 }) } as never),
      `defineSaga("s").saga("t").compensate: expected true (it is undone), or 'none', got undefined`,
    ],
    [
      'a timer without a time',
      () => begin.timer('t', {} as never),
      'defineSaga("s").timer("t").delay: expected milliseconds from 0 to 315360000000000, or a function that gives them or a Date, got undefined',
    ],
    [
      'a signal from nowhere',
      () => begin.signal('t', {} as never),
      'defineSaga("s").signal("t"): expected either payload (for coordinator.signal) or from (a channel)',
    ],
    [
      'a signal without a receiver',
      () => begin.signal('t', { from: channel } as never),
      'defineSaga("s").signal("t").correlate: expected a function from the message to the id of its saga, with from',
    ],
    [
      'an option that timers do not have',
      () => begin.timer('t', { delay: 1, ms: 1 } as never),
      'defineSaga("s").timer("t").ms: expected one of delay',
    ],
    [
      'a bad timeout',
      () => begin.step('a', { ...none, timeoutMs: 0 }),
      'defineSaga("s").step("a").timeoutMs: expected a whole number >= 1 and <= 2147483647, got 0',
    ],
    [
      'bad attempts',
      () => begin.step('a', { ...none, retry: { maxAttempts: 0 } }),
      'defineSaga("s").step("a").retry.maxAttempts: expected a whole number >= 1 and <= 1000000, got 0',
    ],
    [
      'no channel',
      () => begin.command('a', { request: () => ({ n: 1 }), compensate: true } as never),
      'defineSaga("s").command("a").to: expected what defineChannel returned, got undefined',
    ],
    [
      'a function as the compensation of a command',
      () => begin.command('a', { to: channel, request: () => ({ n: 1 }), compensate: (() => {}) as never }),
      `defineSaga("s").command("a").compensate: expected true (the participant undoes it), or 'none', got function`,
    ],
    [
      'no version',
      () => defineSaga('s', { input } as never),
      'defineSaga("s").version: expected a whole number >= 1 and <= 1000000, got undefined',
    ],
    [
      'no schema',
      () => defineSaga('s', { version: 1 } as never),
      'defineSaga("s").input: expected a Standard Schema such as z.object({...}) of zod 3.24 or later, got undefined',
    ],
  ])('%s is refused at construction, with path and remedy', (_, define, message) => {
    expect(define).toThrow(message)
  })
})

describe('createCoordinator', () => {
  const saga = begin.step('a', none)
  const good: CoordinatorOptions = {
    service: 'orders',
    sql: { query: async () => ({ rows: [], rowCount: 0 }), transaction: async () => undefined as never },
    outbox: { addEncoded: async () => {} },
    sagas: [saga],
  }

  test.each<[string, Partial<CoordinatorOptions>, string]>([
    [
      'an empty saga',
      { sagas: [begin] },
      'createCoordinator.sagas[0]: saga "s" has no steps. Builders are immutable: pass what .step() returned.',
    ],
    [
      'a step of a kind that another release knows',
      { sagas: [{ ...saga, steps: saga.steps.map((step) => ({ ...step, kind: 'later' as never })) }] },
      'step "a": expected a kind of step, got "later". Make the saga with defineSaga of this release.',
    ],
    ['no saga', { sagas: [] }, 'createCoordinator.sagas: expected at least one saga, got []'],
    [
      'a version twice',
      { sagas: [saga, saga] },
      'createCoordinator.sagas: s version 1 is there twice, remove one or raise its version',
    ],
    ['a bad lease', { leaseMs: 1 }, 'createCoordinator.leaseMs: expected a whole number >= 100'],
    ['no outbox', { outbox: undefined as never }, 'createCoordinator.outbox: expected what createOutbox returns'],
    ['a bad service', { service: 'a b' }, 'createCoordinator.service: expected a name'],
  ])('refuses %s, with path and remedy', (_, wrong, message) => {
    expect(() => createCoordinator({ ...good, ...wrong })).toThrow(message)
  })

  test('names the command channels for the binder', () => {
    const withCommand = begin.command('a', { to: channel, request: () => ({ n: 1 }), compensate: true })
    const { channels, bindings } = createCoordinator({ ...good, sagas: [withCommand] })
    expect(channels.map(({ name }) => name)).toEqual(['c'])
    expect(bindings).toMatchObject([{ kind: 'sink', input: { name: 'orders.saga-replies' } }])
  })
})
