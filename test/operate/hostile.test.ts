/** Input that no database accepts is refused before it is sent. */
import { createOperator } from '@concordat/cli'
import { describe, expect, test } from 'vitest'
// oxlint-disable-next-line no-restricted-imports -- pure inside
import { printable } from '../../core/printable.ts'
// oxlint-disable-next-line no-restricted-imports -- pure inside
import { readCursor, writeCursor } from '../../packages/cli/cursor.ts'
// oxlint-disable-next-line no-restricted-imports -- pure inside
import { printableJson, printableLines } from '../../packages/cli/printable.ts'
// oxlint-disable-next-line no-restricted-imports -- pure inside of the console
import { queryOf } from '../../packages/console/input.ts'

const never = (): Promise<never> => Promise.reject(new Error('the database was asked'))

test('a NUL in a field, a filter or a cursor is refused by its name', async () => {
  const query = queryOf('http://localhost/api/sagas?saga=a%00&idPrefix=%00')
  expect(() => query.text('saga')).toThrow('saga: expected a text without NUL')
  expect(() => query.optionalText('idPrefix')).toThrow('idPrefix: expected a text without NUL')
  const after = writeCursor(['1', 'order', 'o\0'])
  expect(() => readCursor('after', after, 3)).toThrow('after: expected what `next` of the page before was')
  const { sagas } = createOperator({ sql: { query: never, transaction: never } })
  await expect(sagas.list({ owner: 'a\0' })).rejects.toThrow('sagas.list.owner: expected a text without NUL')
})

describe('text of strangers on a terminal', () => {
  // CSI in one character, ESC, a bidirectional override, an isolate, an invisible space, a tag beyond the first plane.
  const steering = ['\u009b31m', '\u001b[31m', '\u202e', '\u2066', '\u200b', '\u{e0041}']
  const harmful = /[\p{Cc}\p{Cf}]/u

  test.for(steering)('steers nothing in a line, in lines and in JSON: %j', (text, { expect }) => {
    expect(printable(`a${text}b`)).not.toMatch(harmful)
    expect(printableLines(`a${text}\n\tb`).split('\n')).toHaveLength(2)
    expect(printableLines(`a${text}b`)).not.toMatch(harmful)
    const value = { [text]: [`a${text}\n`] }
    const json = printableJson(JSON.stringify(value))
    expect(json).not.toMatch(harmful)
    expect(JSON.parse(json)).toEqual(value)
  })
})
