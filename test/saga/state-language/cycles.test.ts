/** Machines that come to a state again: by a cycle, by an operator's order, or without end. */
import { describe, expect, test } from 'vitest'
import { endOf, executions, ordered, outcomeOf, returned, storyOf, tasks, threw } from '../support/machine-story.ts'
import { BY_RESULT, machine, task } from '../support/machines.ts'

/** A is made until it returns 2; then all is undone. */
const cycle = machine('m', 'A', {
  A: task('a', 'reduce', { CompensateState: 'Undo', Output: { n: '$.#root' }, Next: 'Enough' }),
  Enough: { Type: 'Choice', Choices: [{ Expression: '[n] < 2', Next: 'A' }], Default: 'CompensationTrigger' },
  Undo: task('a', 'compensate'),
})

describe('a state that a cycle repeats', () => {
  test('is called under a key of its own, and so is what undoes it', () => {
    const story = storyOf(cycle).when(returned('A', 1), returned('A.1', 2), returned('Undo'), returned('Undo.1'))
    expect(tasks(story)).toEqual(['A', 'A.1', 'Undo as A.1', 'Undo.1 as A'])
    expect(endOf(story)).toEqual(['compensated', 'UN', 'SU'])
  })

  test('counts after a retry as well, and is undone; only repeated work no longer counts', () => {
    const stuck = storyOf(cycle).when(threw('A'))
    expect(endOf(stuck)).toEqual(['stuck', 'UN'])
    const undoing = stuck.when(ordered('retry'), returned('A.1', 1), returned('A.2', 2))
    const story = undoing.when(returned('Undo'), returned('Undo.1'))
    expect(tasks(story)).toEqual(['A', 'A.1 as A', 'A.2', 'Undo as A.2', 'Undo.1 as A'])
    expect(executions(story)).toBe('A UN (again), A SU, A SU, Undo SU, Undo SU')
    expect(endOf(story)).toEqual(['compensated', 'UN', 'SU'])
  })
})

const two = (input: string) =>
  machine('m', 'A', {
    A: task('a', 'reduce', { CompensateState: 'UndoA', Output: { n: '$.#root' }, Next: 'B' }),
    B: task('b', 'reduce', { CompensateState: 'UndoB', Input: [input], Catch: [], Next: 'Succeed' }),
    UndoA: task('a', 'compensate'),
    UndoB: task('b', 'compensate'),
  })

describe('a forward', () => {
  test('leaves nothing behind for a later compensate, which undoes all', () => {
    const forward = storyOf(two('$.[n]')).when(returned('A'), threw('B'), ordered('retry'), returned('B.1'))
    expect(endOf(forward)).toEqual(['completed', 'SU'])
    const story = forward.when(ordered('compensate'), returned('UndoB'), returned('UndoA'))
    expect(tasks(story).slice(-2)).toEqual(['UndoB as B', 'UndoA as A'])
    expect(endOf(story)).toEqual(['compensated', 'SU', 'SU'])
  })
})

describe('a forward after all was undone', () => {
  const json = machine('m', 'A', {
    A: task('a', 'reduce', { CompensateState: 'UndoA', Next: 'B' }),
    B: task('b', 'reduce', { CompensateState: 'UndoB', Status: BY_RESULT, Output: { b: '$.#root' }, Next: 'Asked' }),
    Asked: { Type: 'Choice', Choices: [{ Expression: '[b] == true', Next: 'C' }], Default: 'CompensationTrigger' },
    C: task('a', 'reduce', { CompensateState: 'UndoC', Next: 'Succeed' }),
    UndoA: task('a', 'compensate'),
    UndoB: task('b', 'compensate'),
    UndoC: task('a', 'compensate'),
  })

  test('does not count as undone when it fails: it is stuck, and a compensate undoes its effects', () => {
    const undone = storyOf(json).when(returned('A', true), returned('B', false), returned('UndoA', true))
    expect(endOf(undone)).toEqual(['compensated', 'UN', 'SU'])
    const stuck = undone.when(ordered('retry'), returned('B.1', true), threw('C'))
    expect(endOf(stuck)).toEqual(['stuck', 'UN', 'UN'])
    const story = stuck.when(ordered('compensate'), returned('UndoC', true), returned('UndoB', true))
    expect(tasks(story).slice(-2)).toEqual(['UndoC as C', 'UndoB as B'])
    expect(endOf(story)).toEqual(['compensated', 'UN', 'SU'])
  })
})

describe('a cycle without a call', () => {
  const again = (to: string, next = 'Succeed') => ({
    Type: 'Choice',
    Choices: [{ Expression: '[n] == 1', Next: next }],
    Default: to,
  })
  const nothing = { Name: 'nothing', StartState: 'End', States: { End: { Type: 'Succeed' } } }

  test.each<[string, Readonly<Record<string, unknown>>]>([
    ['over a machine without tasks', { Type: 'SubStateMachine', StateMachineName: 'nothing', Next: 'Again' }],
    [
      'over a loop that is complete at once',
      task('b', 'reduce', {
        Loop: { Parallel: 1, Collection: '$.[items]', CompletionCondition: 'true' },
        Next: 'Again',
      }),
    ],
  ])('%s ends the machine, and does not block the process', (_, state) => {
    const json = machine('m', 'First', {
      First: task('a', 'reduce', { IsForUpdate: true, Next: 'Quiet' }),
      Quiet: state,
      Again: again('Quiet'),
    })
    const story = storyOf(json, { items: [1, 2] }, [nothing]).when(returned('First'))
    expect(endOf(story)).toEqual(['stuck', 'UN'])
    expect(outcomeOf(story).exception).toEqual({
      name: 'StateMachineEndless',
      message: 'm: "Quiet" leads back to itself, and nothing is called on the way',
    })
  })

  test('is none with a task on it, for any number of rounds', () => {
    const json = machine('m', 'A', {
      A: task('a', 'reduce', { Output: { n: '$.#root' }, Next: 'Quiet' }),
      Quiet: { Type: 'SubStateMachine', StateMachineName: 'nothing', Next: 'Again' },
      Again: again('A'),
    })
    let story = storyOf(json, {}, [nothing])
    for (let n = 0; n < 30; n++) story = story.when(returned(n === 0 ? 'A' : `A.${n}`, n === 29 ? 1 : 0))
    expect(endOf(story)).toEqual(['completed', 'SU'])
  })
})
