// oxlint-disable no-restricted-imports -- inside of undo: the order in which changes are undone
import { expect, test } from 'vitest'
import { type Image, planUndo } from '../../../saga/undo/plan.ts'

const image = (oldKey: string | null, newKey: string | null, from?: string, to?: string): Image => ({
  relation: '1',
  oldKey,
  newKey,
  oldRow: from === undefined ? null : { v: from },
  newRow: to === undefined ? null : { v: to },
})

const order = (images: readonly Image[]): readonly string[] =>
  planUndo(images).steps.map(({ oldRow, newRow }) => `${newRow?.['v'] ?? '-'} -> ${oldRow?.['v'] ?? '-'}`)

test('the plan of an undo undoes the newest change first', () => {
  expect(order([image(null, 'a', undefined, '1'), image('a', 'a', '1', '2'), image('b', null, '9')])).toEqual([
    '- -> 9',
    '2 -> 1',
    '1 -> -',
  ])
})

test('the plan of an undo follows the states of a row where a trigger recorded its change before the one that caused it', () => {
  expect(order([image('a', 'a', '2', '3'), image('a', 'a', '1', '2')])).toEqual(['3 -> 2', '2 -> 1'])
})

test('the plan of an undo computes the present and the restored rows, in any order', () => {
  const images = [
    image('a', 'b', '1', '2'),
    image('b', null, '2'),
    image(null, 'c', undefined, '3'),
    image('d', 'd', '5', '6'),
  ]
  const touched = [
    { relation: '1', key: 'a', left: null, before: { v: '1' } },
    { relation: '1', key: 'c', left: { v: '3' }, before: null },
    { relation: '1', key: 'd', left: { v: '6' }, before: { v: '5' } },
  ]
  expect(planUndo(images).touched).toEqual(touched)
  expect(planUndo(images.toReversed()).touched).toEqual(touched)
})

test('the plan of an undo has nothing to check in a row that ended as it began', () => {
  expect(planUndo([image('a', 'a', '1', '2'), image('a', 'a', '2', '1')]).touched).toEqual([])
  expect(planUndo([image(null, 'n', undefined, '1'), image('n', null, '1')]).touched).toEqual([])
})

test('the plan of an undo changes nothing in a row that ended as it began, unless a changed row was moved over it', () => {
  const moved = [image('b', 'n', '2', '2'), image('n', 'c', '2', '2')]
  const back = [
    image('a', 'a', '1', '2'),
    image('a', 'a', '2', '1'),
    image('x', 'y', '3', '3'),
    image('y', 'x', '3', '3'),
  ]
  expect(planUndo([...back, ...moved]).steps.map(({ oldKey, newKey }) => [newKey, oldKey])).toEqual([
    ['c', 'n'],
    ['n', 'b'],
  ])
})
