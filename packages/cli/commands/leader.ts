/** `leader`: lists the leaders of roles, and ends a term. */
import { duration } from '../doctor/line.ts'
import type { LockInfo } from '../engine-types.ts'
import { leaderKey } from '../lock-admin.ts'
import {
  ACTION_OPTIONS,
  type Command,
  DATABASE_OPTIONS,
  type OptionSpecs,
  REDIS_OPTIONS,
  WATCH_OPTION,
} from './command.ts'
import { ago, printable, table } from './output.ts'
import { none, note, only } from './values.ts'

const STORE: OptionSpecs = { ...REDIS_OPTIONS, ...DATABASE_OPTIONS }

const list: Command = {
  name: 'leader list',
  summary: 'lists the leaders by role, and who leads next',
  options: { ...STORE, ...WATCH_OPTION },
  examples: ['npx concordat leader list', 'npx concordat leader list --json'],
  async run({ positionals, operator }) {
    none(positionals)
    const leaders = await (await operator()).leaders.list()
    const rows = leaders.map(({ role, instance, term, sinceAt, expiresInMs, candidates }) => [
      role,
      instance,
      String(term),
      ago(sinceAt),
      duration(expiresInMs),
      candidates.join(', ') || '-',
    ])
    return { text: `${table(['ROLE', 'LEADER', 'TERM', 'SINCE', 'ENDS IN', 'NEXT'], rows)}\n`, json: { leaders } }
  },
}

const stepDown: Command = {
  name: 'leader step-down',
  summary: 'ends the term of a leader, who learns it with the next renewal; the next candidate leads',
  takes: 'ROLE',
  options: { ...STORE, ...ACTION_OPTIONS },
  examples: ['npx concordat leader step-down settlement --reason "the disk is full" --yes'],
  async run(invocation) {
    const role = only(invocation, 'ROLE')
    const who = note(invocation)
    const { leaders, locks } = await invocation.operator()
    await invocation.requireTrail()
    // Reads the lock instead of the list of leaders: the lock delay of an ended term may remain, and ends too.
    const [leader] = (await locks.show(leaderKey(role)))?.holders ?? []
    const plan = printable(`${role}: ${leader === undefined ? 'it has no leader.' : planFor(leader)}`)
    if (!(await invocation.confirm(plan, 'End it?'))) {
      return { text: 'Nothing was changed.\n', json: { role, done: false }, code: 1 }
    }
    const { ended, token, at } = await leaders.stepDown(role, {
      ...who,
      tokens: leader === undefined ? [] : [leader.token],
    })
    const said = ended.map(({ owner }) => owner).join(', ')
    return {
      text:
        printable(
          `${role}: ended ${said === '' ? 'no term' : `the term of ${said}`}; later terms are above ${token}.`,
        ) + '\n',
      json: {
        role,
        done: true,
        at,
        term: token,
        ended: ended.map(({ owner, token: term }) => ({ instance: owner, term })),
      },
    }
  },
}

function planFor({ token, owner, expiresInMs }: LockInfo['holders'][number]): string {
  return expiresInMs > 0
    ? `the term ${token} of ${owner} ends.`
    : `the lock delay after term ${token} of ${owner} ends.`
}

export const LEADER_COMMANDS: readonly Command[] = [list, stepDown]
