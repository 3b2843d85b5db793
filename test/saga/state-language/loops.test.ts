/** Loops whose items fail, throw before they are called, or are continued by an operator. */
import { describe, expect, test } from 'vitest'
import { endOf, executions, ordered, outcomeOf, returned, storyOf, tasks, threw } from '../support/machine-story.ts'
import { machine, task } from '../support/machines.ts'

const loops = (loop: object, more: object = {}, states: object = {}) =>
  machine('m', 'Notify', {
    Notify: task('a', 'reduce', {
      CompensateState: 'Undo',
      Input: ['$.[loopElement]'],
      Output: { told: '$.#root' },
      Loop: { Parallel: 2, Collection: '$.[items]', ...loop },
      Next: 'After',
      ...more,
    }),
    Undo: task('a', 'compensate', { Input: ['$.[loopElement]'] }),
    After: task('b', 'reduce', { Next: 'Succeed' }),
    ...states,
  })
const items = ['w', 'x', 'y', 'z']

describe('a loop that the engine cannot finish', () => {
  test('is unknown when an item was at work then, and succeeded: its effect can be undone', () => {
    const story = storyOf(loops({}, { Input: ['$.[loopElement] > 0'] }), { items: [1, 'x', 2] })
    const ended = story.when(returned('Notify-loop-0'))
    expect(tasks(ended)).toEqual(['Notify-loop-0'])
    expect(endOf(ended)).toEqual(['stuck', 'UN'])
    const undone = ended.when(ordered('compensate'), returned('Undo'))
    expect(tasks(undone).at(-1)).toBe('Undo as Notify-loop-0')
    expect(endOf(undone)).toEqual(['compensated', 'UN', 'SU'])
  })

  test('changed nothing when no item was called', () => {
    const story = storyOf(loops({}, { Input: ['$.[loopElement] > 0'] }), { items: ['x', 1] })
    expect(endOf(story)).toEqual(['compensated', 'FA'])
  })

  test('reports a condition that fits no values; a retry makes its rest, and does not leave it out', () => {
    const CompletionCondition = '[nrOfCompletedInstances] > 0 && [limit] > 1'
    const story = storyOf(loops({ Parallel: 1, CompletionCondition }), { items, limit: 'none' })
    const ended = story.when(returned('Notify-loop-0'))
    expect(endOf(ended)).toEqual(['stuck', 'UN'])
    expect(outcomeOf(ended).exception).toEqual({
      name: 'VariablesAssignError',
      message: 'm: CompletionCondition of "Notify": ">" takes two numbers or two texts, got a text and a number',
    })
    const again = ended.when(ordered('retry'))
    expect(endOf(again)).toEqual(['stuck', 'UN'])
    expect(tasks(again)).toEqual(['Notify-loop-0'])
    expect(tasks(again.when(ordered('skip')))).toEqual(['Notify-loop-0', 'After'])
  })
})

describe('the replay of a loop', () => {
  const failed = () =>
    storyOf(loops({}), { items }).when(returned('Notify-loop-1'), threw('Notify-loop-2'), returned('Notify-loop-0'))

  test('begins no more after a failed one, also when an earlier one succeeds later', () => {
    const story = failed()
    expect(tasks(story)).toEqual(['Notify-loop-0', 'Notify-loop-1', 'Notify-loop-2'])
    expect(endOf(story)).toEqual(['stuck', 'UN'])
  })

  test('never counts a retry’s items as its own', () => {
    const again = failed().when(ordered('retry'))
    expect(tasks(again).slice(3)).toEqual(['Notify-loop-2.1 as Notify-loop-2', 'Notify-loop-3.1'])
    const stuck = again.when(returned('Notify-loop-2.1'), threw('Notify-loop-3.1'))
    expect(endOf(stuck)).toEqual(['stuck', 'UN'])
    const story = stuck.when(ordered('retry'), returned('Notify-loop-3.2'), returned('After'))
    expect(tasks(story).slice(5)).toEqual(['Notify-loop-3.2 as Notify-loop-3.1', 'After'])
    expect(endOf(story)).toEqual(['completed', 'SU'])
    expect(executions(story)).toBe(
      [
        'Notify-loop-0 SU, Notify-loop-1 SU, Notify-loop-2 UN (again), Notify-loop-2 SU',
        'Notify-loop-3 UN (again), Notify-loop-3 SU, After SU',
      ].join(', '),
    )
  })

  test('has the same counts at its end, in any order of its items', () => {
    const story = storyOf(loops({ CompletionCondition: '[nrOfCompletedInstances] >= 2' }), { items })
    const ended = story.when(returned('Notify-loop-1'), returned('Notify-loop-2'), returned('Notify-loop-0'))
    expect(outcomeOf(ended.when(returned('After'))).endParams).toMatchObject({
      nrOfInstances: 4,
      nrOfActiveInstances: 0,
      nrOfCompletedInstances: 3,
    })
  })
})

test('a loop that a cycle comes to again is made as a whole, also after a retry of its first visit', () => {
  const json = loops(
    { Parallel: 1 },
    { Next: 'Enough' },
    {
      Enough: {
        Type: 'Choice',
        Choices: [{ Expression: '[loopResult][0].told < 2', Next: 'Notify' }],
        Default: 'After',
      },
    },
  )
  const first = storyOf(json, { items: ['x', 'y'] }).when(threw('Notify-loop-0'), ordered('retry'))
  const second = first.when(returned('Notify-loop-0.1', 1), returned('Notify-loop-1.1', 1))
  const story = second.when(returned('Notify-loop-0.2', 2), returned('Notify-loop-1.2', 2), returned('After'))
  expect(tasks(story)).toEqual([
    'Notify-loop-0',
    'Notify-loop-0.1 as Notify-loop-0',
    'Notify-loop-1.1',
    'Notify-loop-0.2',
    'Notify-loop-1.2',
    'After',
  ])
  expect(endOf(story)).toEqual(['completed', 'SU'])
})
