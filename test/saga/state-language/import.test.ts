/** Refusals at import, by path; and the expressions that are supported. */
import { importStateMachine } from '@concordat/state-language'
import { explore, given } from 'concordat/testing'
import { describe, expect, test } from 'vitest'
import { machine, reduceMachine, Shop, services, task } from '../support/machines.ts'

type States = Readonly<Record<string, unknown>>
const known = { services: services(new Shop(), 'a') }
const one = (more: States, after: States = {}) =>
  machine('m', 'A', { A: task('a', 'reduce', { Next: 'Succeed', ...more }), ...after })

test('nesting and expressions without end are refused by a sentence, and not by the stack', () => {
  const deep = `${'{"a":'.repeat(12_000)}1${'}'.repeat(12_000)}`
  expect(() => importStateMachine(deep, known)).toThrow('importStateMachine: the JSON is nested deeper than 100 levels')
  const within = (expression: string) => () => importStateMachine(one({ Input: [`$.${expression}`] }), known)
  const at = 'importStateMachine("m").States.A.Input[0]: '
  expect(within(`${'('.repeat(400)}1${')'.repeat(400)}`)).toThrow(`${at}nested deeper than 50 levels`)
  expect(within(`${'-'.repeat(400)}1`)).toThrow(`${at}nested deeper than 50 levels`)
  expect(within(`1${' + 1'.repeat(20_000)}`)).toThrow(`${at}more than 1000 words`)
})

describe('is refused at import, by its path:', () => {
  const at = 'importStateMachine("m").States.A'
  test.each<[string, unknown, string]>([
    ['a text that is no JSON', '{', 'importStateMachine: the text is no JSON'],
    ['no object', [], 'importStateMachine: expected a JSON object'],
    ['a file of the designer', { nodes: [] }, 'importStateMachine.nodes: this is a file of the designer'],
    ['no name', { ...one({}), Name: '' }, 'importStateMachine("").Name: expected a text'],
    [
      'a start that is no state',
      { ...one({}), StartState: 'B' },
      'importStateMachine("m").StartState: expected the name of a state in States, got "B"',
    ],
    [
      'an attribute of the machine',
      { ...one({}), Timeout: 3 },
      'importStateMachine("m").Timeout: this attribute is not taken over.',
    ],
    ['an attribute of a state', one({ Timeout: 3 }), `${at}.Timeout: this attribute is not taken over.`],
    [
      'a type',
      machine('m', 'A', { A: { Type: 'Fork' } }),
      `${at}.Type: "Fork" is not taken over. Known types: ServiceTask`,
    ],
    ['a next state that is not there', one({ Next: 'Nowhere' }), `${at}: there is no state "Nowhere" to go to`],
    ['a compensation that is not there', one({ CompensateState: 'B' }), `${at}.CompensateState: there is no task "B"`],
    ['a service that is not there', one({ ServiceName: 'b' }), `${at}.ServiceName: there is no "b" in \`services\``],
    [
      'a method that is not there',
      one({ ServiceMethod: 'other' }),
      `services.a.other: expected a function, which ${at} calls`,
    ],
    [
      'a status that is none',
      one({ Status: { '#root': 'OK' } }),
      `${at}.Status["#root"]: expected SU, FA or UN, got "OK"`,
    ],
    [
      'a retry without a number',
      one({ Retry: [{ IntervalSeconds: 1 }] }),
      `${at}.Retry[0].MaxAttempts: expected a whole number from 0`,
    ],
    ['a catch without a state', one({ Catch: [{ Exceptions: [] }] }), `${at}.Catch[0].Next: expected a text`],
    [
      'a loop without a number',
      one({ Loop: { Collection: '$.[x]' } }),
      `${at}.Loop.Parallel: expected a whole number from 1`,
    ],
    [
      'a machine that is not there',
      machine('m', 'A', { A: { Type: 'SubStateMachine', StateMachineName: 'x' } }),
      `${at}.StateMachineName: there is no machine "x". Give its JSON in \`machines\`.`,
    ],
    [
      'a machine in itself',
      machine('m', 'A', { A: { Type: 'SubStateMachine', StateMachineName: 'm' } }),
      'the machine "m" contains itself',
    ],
    [
      'one that never ends',
      one({ Next: 'B' }, { B: task('a', 'reduce', { Next: 'A' }) }),
      'importStateMachine("m").States.A: from here the machine never ends',
    ],
    [
      'choices that lead back to themselves',
      machine('m', 'A', {
        A: { Type: 'Choice', Choices: [{ Expression: '[n] == 1', Next: 'B' }], Default: 'Succeed' },
        B: { Type: 'Choice', Choices: [{ Expression: '[n] == 2', Next: 'Succeed' }], Default: 'A' },
      }),
      `${at}: choices alone lead back to this choice. Put a task between them.`,
    ],
    [
      'a state that is called like an item of a loop',
      one({ Loop: { Parallel: 1, Collection: '$.[x]' }, Next: 'A-loop-1' }, { 'A-loop-1': task('a', 'reduce') }),
      `${at}-loop-1: the items of the loop "A" are called so. Give this state another name.`,
    ],
    [
      'text that cannot be stored',
      one({ Input: ['a\0b'] }),
      'importStateMachine: the JSON holds a NUL or half a surrogate pair',
    ],
    [
      'a script without a function',
      machine('m', 'A', { A: { Type: 'ScriptTask', ScriptContent: 'x' } }),
      `${at}.ScriptContent: scripts are not run. Give a function in \`scripts\``,
    ],
  ])('%s', (_, json, message) => {
    expect(() => importStateMachine(json, known)).toThrow(message)
  })

  test.each<[string, string]>([
    ['$.T(java.lang.Runtime).getRuntime()', 'there is no method "T"'],
    ['$.new java.util.Date()', 'unexpected "java" at position 5'],
    ['$.@bean.call()', 'unexpected "@" at position 1'],
    ['$.[items].?[#this > 1]', 'unexpected "?" at position 9'],
    ['$.[a] = 3', 'unexpected "=" at position 5'],
    ['$.#other', 'there is no variable "#other", only #root'],
    ['$.[a].constructor()', 'there is no method "constructor"'],
    ['$.{1, 2}', 'unexpected "{" at position 1'],
    ['$.[a] ==', 'unexpected "the end" at position 7'],
    ['$Groovy{a + b}', 'is none of $.expression and $Sequence.BUSINESS_KEY|SIMPLE'],
  ])('the expression %s', (expression, message) => {
    const refusal = `${at}.Input[0]: `
    expect(() => importStateMachine(one({ Input: [expression] }), known)).toThrow(refusal)
    expect(() => importStateMachine(one({ Input: [expression] }), known)).toThrow(message)
  })

  test('options that it does not know, or that are missing', () => {
    expect(() => importStateMachine(reduceMachine, {} as never)).toThrow(
      'importStateMachine.services: expected an object',
    )
    expect(() => importStateMachine(reduceMachine, { ...known, timeout: 1 } as never)).toThrow('timeout')
    expect(() => importStateMachine(one({}), { ...known, machines: [one({})] })).toThrow('two machines are called "m"')
  })
})

describe('an expression', () => {
  /** Argument of the first call of a machine with this input. */
  function valueOf(expression: unknown, params: States): unknown {
    const saga = importStateMachine(one({ Input: [expression] }), known)
    const started = given(saga).when({ type: 'planned', step: 'machine', items: [{ params, key: 'm/x' }] })
    const { payload } = started.state.steps.find(({ step }) => step === 'A') ?? {}
    return (payload as { readonly params: readonly unknown[] } | undefined)?.params[0]
  }
  const root = { a: 2, b: 'x', list: [1, { c: true }], empty: [], o: { "it's": 1 }, no: null }
  const ordered = { ...root, p: { x: 1, y: [{ b: 1, c: 2 }] }, q: { y: [{ c: 2, b: 1 }], x: 1 } }

  test.each<[unknown, unknown]>([
    ['$.[a]', 2],
    ['$.a', 2],
    ['$.#root', { a: 2, b: 'x', list: [1, { c: true }], empty: [], o: { "it's": 1 } }],
    ['$.[list][1].c', true],
    ["$.[o]['it''s']", 1],
    ['$.[missing]', null],
    ['$.[missing]?.x', null],
    ["$.[missing] ?: 'other'", 'other'],
    ['$.[a] > 1 && [b] == "x"', true],
    ["$.[a] gt 1 and not ([b] eq 'y') or false", true],
    ['$.[a] >= 2 ? 1 : 0', 1],
    ['$.-[a] + 3 * 2', 4],
    ['$.(1 + 2) * 3 % 4', 1],
    ["$.[b] + '-' + [a]", 'x-2'],
    ['$.[list].size() - 1', 1],
    ['$.[empty].isEmpty()', true],
    ['$.[list].contains(1)', true],
    ["$.[b].startsWith('x')", true],
    ['$.[no] == null', true],
    ['$.[a] == 2.0', true],
    ["$.[a] == '2'", false],
    [
      { x: '$.[a]', y: [{ z: '$.[b]' }], n: '$.[no]', t: 'plain' },
      { x: 2, y: [{ z: 'x' }], t: 'plain' },
    ],
    [
      ['$.[a]', 7],
      [2, 7],
    ],
  ])('%j is %j', (expression, value) => {
    expect(valueOf(expression, root)).toEqual(value)
  })

  test.each<[string, unknown]>([
    ['$.[p] == [q]', true],
    ['$.[p] != [q]', false],
    ['$.[p].equals([q])', true],
    ['$.[p].y.contains([q].y[0])', true],
    ["$.'' + [q] == '' + [p]", true],
  ])('compares objects in any order of their members, which the database changes: %s', (expression, value) => {
    expect(valueOf(expression, ordered)).toBe(value)
  })

  test.each<[string, string]>([
    ['$.[card] > 1', '">" takes two numbers or two texts, got a text and a number'],
    ['$.[card] - [owner]', '"-" takes two numbers, got a text and an object'],
    ['$.[card] && true', '"and" takes true or false, got a text'],
    ['$.[pin].size()', 'size() is of a list, an object or a text, got a number'],
    ['$.[none][[card]]', 'there is no member of null'],
    ['$.[none].x', 'there is no "x" of null'],
  ])('names no values in its message: %s', (expression, message) => {
    const saga = importStateMachine(one({ Input: [expression] }), known)
    const params = { card: '4111-1111', owner: { name: 'Ann' }, pin: 1234 }
    const ended = given(saga).when({ type: 'planned', step: 'machine', items: [{ params, key: 'm/x' }] })
    expect(ended.state.failure?.message).toBe(`m: Input of "A": ${message}`)
  })

  test('an expression that does not fit its values ends the machine, and names the state', () => {
    const saga = importStateMachine(one({ Input: ['$.[b] > 1'] }), known)
    const ended = given(saga).when({ type: 'planned', step: 'machine', items: [{ params: root, key: 'm/x' }] })
    expect(ended).toMatchObject({ status: 'compensated', failure: { code: 'VariablesAssignError' } })
    expect(ended.state.failure?.message).toContain(
      'Input of "A": ">" takes two numbers or two texts, got a text and a number',
    )
  })
})

test('the graph of an imported machine is that of its JSON: another machine is another version', () => {
  const hash = (json: unknown) => importStateMachine(json, known).graphHash
  expect(hash(one({}))).toBe(hash(one({})))
  expect(hash(one({}))).not.toBe(hash(one({ IsForUpdate: true })))
})

test('the order of the rules of a status is part of its graph, for the first that holds decides', () => {
  const hash = (json: unknown) => importStateMachine(json, known).graphHash
  const status = (...matchers: readonly string[]) =>
    one({ Status: Object.fromEntries(matchers.map((matcher) => [matcher, matcher === '#root > 1' ? 'SU' : 'FA'])) })
  expect(hash(status('#root > 1', '#root == 2'))).not.toBe(hash(status('#root == 2', '#root > 1')))
  expect(hash(one({ Output: { a: 1, b: 2 } }))).toBe(hash(one({ Output: { b: 2, a: 1 } })))
})

test('a machine has no static shape: explore names the way to test it', () => {
  expect(() => explore(importStateMachine(one({}), known))).toThrow('Play single courses of it with given(...)')
})
