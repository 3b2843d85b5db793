/** `locks`: lists holders and waiters, and ends the leases of a key. */
import { duration } from '../doctor/line.ts'
import type { LockInfo } from '../engine-types.ts'
import {
  ACTION_OPTIONS,
  type Command,
  DATABASE_OPTIONS,
  type OptionSpecs,
  REDIS_OPTIONS,
  WATCH_OPTION,
} from './command.ts'
import { ago, cutLine, iso, printable, table } from './output.ts'
import { none, note, only, text, whole } from './values.ts'

const LISTED = 100
const STORE: OptionSpecs = { ...REDIS_OPTIONS, ...DATABASE_OPTIONS }

const list: Command = {
  name: 'locks list',
  summary: 'lists the locks that are held, by key',
  options: {
    keys: { type: 'string', hint: 'TEXT', about: 'those whose keys begin with this' },
    limit: { type: 'string', hint: 'N', about: 'at most so many (default: 100)' },
    ...STORE,
    ...WATCH_OPTION,
  },
  examples: ['npx concordat locks list', 'npx concordat locks list --keys sku: --json'],
  async run({ values, positionals, operator }) {
    none(positionals)
    const { locks } = await operator()
    const limit = whole(values, 'limit') ?? LISTED
    const found = await locks.list({ prefix: text(values, 'keys'), limit })
    const more = found.length >= limit
    const said = cutLine(more, limit, ': raise --limit, or give --keys')
    return { text: `${lines(found)}\n${said}`, json: { locks: found, more } }
  },
}

const show: Command = {
  name: 'locks show',
  summary: 'shows a lock: its holders, its line, and who took it away before',
  takes: 'KEY',
  options: STORE,
  examples: ['npx concordat locks show sku:apple'],
  async run(invocation) {
    const key = only(invocation, 'KEY')
    const { locks } = await invocation.operator()
    const lock = (await locks.show(key)) ?? { key, holders: [], waiters: [] }
    const audit = await locks.audit(key)
    const line = lock.waiters.map(({ owner, mode }) => printable(`waits: ${owner} (${mode})`))
    const forced = audit.map(({ at, by, reason, ended }) =>
      printable(
        `${iso(at)} released by ${by}: ${reason} (${ended.map(({ owner }) => owner).join(', ') || 'it had no holder'})`,
      ),
    )
    const held = lock.holders.length === 0 ? `${printable(key)}: it has no holder` : lines([lock])
    return { text: `${[held, ...line, ...forced].join('\n')}\n`, json: { ...lock, audit } }
  },
}

const release: Command = {
  name: 'locks release',
  summary: 'takes a lock away from its holders, who learn it with their next renewal; later tokens are higher',
  takes: 'KEY',
  options: { ...STORE, ...ACTION_OPTIONS },
  examples: ['npx concordat locks release sku:apple --reason "the holder hangs" --yes'],
  async run(invocation) {
    const key = only(invocation, 'KEY')
    const who = note(invocation)
    const { locks } = await invocation.operator()
    await invocation.requireTrail()
    const lock = await locks.show(key)
    const plan = lock === undefined ? `${printable(key)}: it has no holder.` : lines([lock])
    if (
      !(await invocation.confirm(
        `${plan}\n\nTheir leases end; who writes without a fence may still write.`,
        'Release it?',
      ))
    ) {
      return { text: 'Nothing was changed.\n', json: { key, done: false }, code: 1 }
    }
    const tokens = lock?.holders.map(({ token }) => token) ?? []
    const forced = await locks.release(key, { ...who, tokens })
    const ended = forced.ended.map(({ owner, token }) => `${owner}, token ${token}`).join('; ')
    const said = printable(
      `${key}: ended ${ended === '' ? 'no lease' : ended}; later tokens are above ${forced.token}.`,
    )
    return { text: `${said}\n`, json: { ...forced, done: true } }
  },
}

export const LOCK_COMMANDS: readonly Command[] = [list, show, release]

function lines(locks: readonly LockInfo[]): string {
  return table(
    ['KEY', 'HOLDER', 'MODE', 'TOKEN', 'SINCE', 'ENDS IN', 'WAITING'],
    locks.flatMap(({ key, holders, waiters }) =>
      holders.map(({ owner, mode, token, sinceAt, expiresInMs }, n) => [
        key,
        owner,
        mode,
        String(token),
        ago(sinceAt),
        expiresInMs > 0 ? duration(expiresInMs) : 'over',
        n === 0 ? String(waiters.length) : '',
      ]),
    ),
  )
}
