// oxlint-disable no-restricted-imports -- inside of the command line: lists as long as its limits
/** Lists of the operator's commands that end at a limit say so. */
import type { Operator } from '@concordat/cli'
import { expect, test } from 'vitest'
import { AUDIT_COMMANDS } from '../../packages/cli/commands/audit.ts'
import type { Command, Invocation } from '../../packages/cli/commands/command.ts'
import { LOCK_COMMANDS } from '../../packages/cli/commands/locks.ts'
import { OUTBOX_COMMANDS } from '../../packages/cli/commands/outbox.ts'
import { UNDO_COMMANDS } from '../../packages/cli/commands/undo-and-prepared.ts'

const lock = (n: number) => ({ key: `k${n}`, holders: [], waiters: [] })
const branch = (n: number) => ({ saga: 's', id: `${n}`, step: 'a', service: 'shop', since: 0, changes: 1, tables: [] })
const transaction = (n: number) => ({ gid: `g${n}`, ageMs: 1, key: undefined })
const action = (n: number) => ({ at: 5_000 - n, part: 'locks', action: 'release', target: 'k', by: 'a', reason: 'r' })
const message = (n: number) => ({
  id: `m${n}`,
  key: null,
  destination: 'd',
  source: 's',
  attempts: 1,
  addedAt: 0,
  parkedAt: 0,
  lastError: '',
})
const several = <T>(count: number, of: (n: number) => T): readonly T[] => Array.from({ length: count }, (_, n) => of(n))

function listed(name: string, count: number, values: object = {}) {
  const operator = {
    locks: { list: async () => several(count, lock) },
    undo: { open: async () => several(count, branch) },
    prepared: async () => several(count, transaction),
    audit: async () => several(count, action),
    outbox: {
      stats: async () => ({ pending: 0, oldestAgeMs: 0, blockedKeys: 0, parked: 0 }),
      failing: async () => several(count, message),
      parked: async () => several(count, message),
    },
  } as unknown as Operator
  const command = [...LOCK_COMMANDS, ...UNDO_COMMANDS, ...AUDIT_COMMANDS, ...OUTBOX_COMMANDS].find(
    (each) => each.name === name,
  ) as Command
  return command.run({ positionals: [], values, env: {}, operator: async () => operator } as unknown as Invocation)
}

test.each([
  ['locks list', 100, {}],
  ['locks list', 7, { limit: '7' }],
  ['undo list', 1_000, {}],
  ['prepared', 20, {}],
  ['audit', 100, {}],
  ['audit', 7, { limit: '7' }],
])('%s says that there may be more than the %i that it shows', async (name, most, values) => {
  expect(await listed(name, most, values)).toMatchObject({
    text: expect.stringContaining(`\nthere may be more than these ${most}`),
    json: { more: true },
  })
  expect(await listed(name, most - 1, values)).toMatchObject({
    text: expect.not.stringContaining('there may be more'),
    json: { more: false },
  })
})

test.each([
  [100, {}],
  [7, { limit: '7' }],
])('outbox list says of each of its lists that there may be more than %i', async (most, values) => {
  const cut = await listed('outbox list', most, values)
  expect(cut?.json).toMatchObject({ more: { failing: true, parked: true } })
  expect(cut?.text.match(new RegExp(`^there may be more than these ${most}: raise --limit$`, 'gm'))).toHaveLength(2)
  expect(await listed('outbox list', most - 1, values)).toMatchObject({
    text: expect.not.stringContaining('there may be more'),
    json: { more: { failing: false, parked: false } },
  })
})

test('audit names the moment at which its next page begins', async () => {
  expect(await listed('audit', 7, { limit: '7' })).toMatchObject({ text: expect.stringContaining('--before 4994,') })
})
