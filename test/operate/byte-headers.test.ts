import { expect, test } from 'vitest'
// oxlint-disable-next-line no-restricted-imports -- inside of the command line: its output, from a letter that no broker has
import type { Invocation } from '../../packages/cli/commands/command.ts'
// oxlint-disable-next-line no-restricted-imports -- as above
import { DLQ_COMMANDS } from '../../packages/cli/commands/dlq.ts'

test('dlq show and its JSON give a header of bytes as base64', async () => {
  const headers = { digest: new Uint8Array([255, 0, 1]), tenant: 'north' }
  const letter = { id: 'm-1', key: null, headers, contentType: '', bytes: 0, time: 0, source: 'shop', error: {} }
  const operator = { letters: { list: async () => [letter] } }
  const invocation = { values: {}, positionals: ['orders', 'stock', 'm-1'], operator: async () => operator }
  const show = DLQ_COMMANDS.find(({ name }) => name === 'dlq show')
  const outcome = await show?.run(invocation as unknown as Invocation)
  expect(outcome?.text).toMatch(/header digest +base64:\/wAB\n/)
  expect(outcome?.json).toMatchObject({ letters: [{ headers: { digest: 'base64:/wAB', tenant: 'north' } }] })
})
