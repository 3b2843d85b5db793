// oxlint-disable no-restricted-imports -- what marks say together has no name in the package
import { expect, it } from 'vitest'
import type { EncodedMessage } from '../../../binder/channel/message.ts'
import { endedMark, lookMark, runMark, SettledByMarks } from '../../../binder/redrive/marker-messages.ts'

const at = (id: string) => ({ id, destination: 'orders.g.dlq', time: 0 })

/** Reads marks stored at offsets 0, 1, 2, ... */
function readAll(...marks: readonly EncodedMessage[]) {
  const read = new SettledByMarks()
  for (const [offset, mark] of marks.entries()) read.read(mark, `offset ${offset}`)
  const { settled, open } = read
  return { settled, open: open?.id }
}

it('a finished run records how far dead letters are settled', () => {
  expect(readAll(runMark(at('a')), endedMark(at('x'), 'a', 'offset 0'))).toEqual({
    settled: 'offset 0',
    open: undefined,
  })
})

it('a killed run leaves its settled dead letters open, until a later one has settled more', () => {
  const ended = [runMark(at('a')), endedMark(at('x'), 'a', 'offset 0')]
  expect(readAll(...ended, runMark(at('b')))).toEqual({ settled: 'offset 0', open: 'b' })
  const later = [...ended, runMark(at('b')), runMark(at('c'))]
  expect(readAll(...later, endedMark(at('y'), 'c', 'offset 3'))).toEqual({ settled: 'offset 3', open: undefined })
  expect(readAll(...later, endedMark(at('y'), 'c', undefined))).toEqual({ settled: 'offset 0', open: 'b' })
})

it('a frozen run that ends after another one moves nothing back', () => {
  const marks = [
    runMark(at('a')),
    runMark(at('b')),
    endedMark(at('x'), 'b', 'offset 10'),
    endedMark(at('y'), 'a', 'offset 9'),
  ]
  expect(readAll(...marks)).toEqual({ settled: 'offset 10', open: undefined })
})

it('a run that put its mark while another was under way, and was killed, is open', () => {
  const marks = [runMark(at('a')), runMark(at('b')), endedMark(at('x'), 'a', 'offset 0')]
  expect(readAll(...marks)).toEqual({ settled: 'offset 0', open: 'b' })
})

it('the mark of a listing and other messages are ignored', () => {
  expect(readAll(lookMark(at('a')), { ...runMark(at('b')), type: 'orders' })).toEqual({
    settled: undefined,
    open: undefined,
  })
})
