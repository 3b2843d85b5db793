import { expect, test } from 'vitest'
// oxlint-disable-next-line no-restricted-imports -- inside of the command line: its tables, from letters that no broker has
import type { Invocation } from '../../packages/cli/commands/command.ts'
// oxlint-disable-next-line no-restricted-imports -- as above
import { DLQ_COMMANDS } from '../../packages/cli/commands/dlq.ts'
// oxlint-disable-next-line no-restricted-imports -- as above
import { OUTBOX_COMMANDS } from '../../packages/cli/commands/outbox.ts'

const long = `\u001b[2J${'\u{1f34e}'.repeat(5_000)}`
const letter = (id: string, key: string) => ({ id, key, headers: {}, contentType: '', bytes: 0, time: 0, error: {} })
const letters = [letter('m-1', long), letter('m-2', 'o-2')]

function said(commands: typeof DLQ_COMMANDS, name: string, positionals: readonly string[]) {
  const operator = {
    letters: { list: async () => [], page: async () => ({ letters, next: null }) },
    outbox: {
      stats: async () => ({ pending: 0, oldestAgeMs: 0, parked: 2, blockedKeys: 2 }),
      failing: async () => [],
      parked: async () =>
        letters.map((each) => ({ ...each, destination: 'd', source: 's', attempts: 1, parkedAt: 0, lastError: 'no' })),
    },
  }
  const invocation = { values: {}, positionals, operator: async () => operator } as unknown as Invocation
  return commands.find((command) => command.name === name)?.run(invocation)
}

test.each([
  ['dlq list', DLQ_COMMANDS, ['orders', 'stock']],
  ['outbox list', OUTBOX_COMMANDS, []],
] as const)('a key of 10,000 characters does not widen the table of %s', async (name, commands, positionals) => {
  const outcome = await said(commands, name, positionals)
  const lines = outcome?.text.split('\n') ?? []
  expect(lines.length).toBeGreaterThan(3)
  for (const line of lines) expect(line.length).toBeLessThan(200)
  expect(outcome?.text.isWellFormed()).toBe(true)
  expect(JSON.stringify(outcome?.json)).toContain(JSON.stringify(long))
})

test('dlq show takes a long key as dlq list prints it', async () => {
  const list = await said(DLQ_COMMANDS, 'dlq list', ['orders', 'stock'])
  const key = /^m-1 {2}(.*?) {2}/m.exec(list?.text ?? '')?.[1] ?? ''
  const found = await said(DLQ_COMMANDS, 'dlq show', ['orders', 'stock', key])
  expect(found?.json).toMatchObject({ letters: [{ id: 'm-1' }] })
})
