/** `undo` and `prepared`: open branches of transactions in this database. */
import { duration } from '../doctor/line.ts'
import type { OpenUndo, UndoChoice, UndoDifference, UndoTarget } from '../engine-types.ts'
import { MOST_PREPARED } from '../prepared-transactions.ts'
import {
  ACTION_OPTIONS,
  type Command,
  DATABASE_OPTIONS,
  type Invocation,
  RESOURCE_OPTIONS,
  UsageError,
  WATCH_OPTION,
} from './command.ts'
import { ago, cutLine, printable, table } from './output.ts'
import { targetOf } from './saga-filter.ts'
import { none, note, several, text } from './values.ts'

const WHOSE = {
  service: { type: 'string', hint: 'NAME', about: 'whose saga, where two services have one of this name and id' },
  birth: {
    type: 'string',
    hint: 'BIRTH',
    about: 'which saga, where branches of an earlier one with this id are open (undo list --json)',
  },
} as const
const TAKES = 'SAGA/ID STEP'
/** Limit of `UndoAdmin.open`. */
const MOST_BRANCHES = 1_000

const list: Command = {
  name: 'undo list',
  summary: 'lists the branches whose rows are held until their sagas are decided, oldest first',
  options: { ...DATABASE_OPTIONS, ...WATCH_OPTION },
  examples: ['npx concordat undo list', 'npx concordat undo list --json'],
  async run({ positionals, operator }) {
    none(positionals)
    const branches = await (await operator()).undo.open()
    const more = branches.length >= MOST_BRANCHES
    const said = branches.length === 0 ? 'No rows are held.' : openLines(branches)
    const cut = cutLine(more, MOST_BRANCHES, ': settle some first')
    return { text: `${said}\n${cut}`, json: { branches, more } }
  },
}

const show: Command = {
  name: 'undo show',
  summary: 'shows which rows of a branch are not as it left them',
  takes: TAKES,
  options: { ...WHOSE, ...DATABASE_OPTIONS },
  examples: ['npx concordat undo show order/o-1 reserve'],
  async run(invocation) {
    const target = branchOf(invocation)
    const differences = await (await invocation.operator()).undo.differences(target)
    return { text: `${differenceLines(differences)}\n`, json: { ...target, differences } }
  },
}

const CHOICES: Readonly<Record<UndoChoice, string>> = {
  keep: 'Rows that others changed stay as they are; all others are restored.',
  restore: 'All rows are restored, also those that others changed since.',
  accept: 'Nothing is put back: what the branch did stays, as if it had been confirmed.',
}

const settle: Command = {
  name: 'undo settle',
  summary: 'decides about a branch that cannot be undone or confirmed, and frees its rows',
  takes: TAKES,
  options: {
    choice: { type: 'string', hint: 'CHOICE', about: 'keep, restore or accept (required)' },
    ...WHOSE,
    ...DATABASE_OPTIONS,
    ...ACTION_OPTIONS,
  },
  examples: [
    'npx concordat undo settle order/o-1 reserve --choice keep --reason "the account was put right by hand" --yes',
    'npx concordat undo settle order/o-2 reserve --choice accept --reason "its saga was resolved" --yes',
  ],
  async run(invocation) {
    const target = branchOf(invocation)
    const choice = choiceOf(invocation)
    const who = note(invocation)
    const admin = (await invocation.operator()).undo
    await invocation.requireTrail()
    const plan = `${differenceLines(await admin.differences(target))}\n\n${CHOICES[choice]}`
    const named = `${target.saga}/${target.id} ${target.step}`
    if (!(await invocation.confirm(plan, 'Settle it?'))) {
      return { text: 'Nothing was changed.\n', json: { ...target, choice, done: false }, code: 1 }
    }
    await admin.settle(target, choice, who)
    const next = choice === 'accept' ? '' : ' Retry the saga: its cancellation finds nothing left to do.'
    return { text: `${printable(named)} is settled.${next}\n`, json: { ...target, choice, done: true } }
  },
}

/** A foreign transaction on MariaDB has no age and names no database, so it is not listed. */
const NONE_PREPARED = 'No transaction is prepared. On MariaDB, XA RECOVER also lists those that are not of sagas.'

const prepared: Command = {
  name: 'prepared',
  summary:
    'lists the transactions that are prepared in this database, and with --mysql those of sagas on MariaDB, oldest first',
  options: { ...DATABASE_OPTIONS, ...RESOURCE_OPTIONS, ...WATCH_OPTION },
  examples: ['npx concordat prepared', 'npx concordat prepared --json'],
  async run({ positionals, operator }) {
    none(positionals)
    const transactions = await (await operator()).prepared()
    const rows = transactions.map(({ gid, ageMs, key, on = 'PostgreSQL' }) => [key ?? '-', duration(ageMs), on, gid])
    const lines = rows.length === 0 ? NONE_PREPARED : table(['SAGA/ID/STEP', 'FOR', 'ON', 'TRANSACTION'], rows)
    const more = transactions.length >= MOST_PREPARED
    const cut = cutLine(more, MOST_PREPARED, ': look into the databases, or end some first')
    return { text: `${lines}\n${cut}`, json: { prepared: transactions, more } }
  },
}

export const UNDO_COMMANDS: readonly Command[] = [list, show, settle, prepared]

function branchOf(invocation: Invocation): UndoTarget {
  const [saga, step] = several(invocation, ['SAGA/ID', 'STEP'])
  return {
    ...targetOf([saga]),
    step,
    service: text(invocation.values, 'service'),
    birth: text(invocation.values, 'birth'),
  }
}

/** @throws UsageError */
function choiceOf({ values }: Invocation): UndoChoice {
  const choice = text(values, 'choice')
  if (choice !== undefined && Object.hasOwn(CHOICES, choice)) return choice as UndoChoice
  throw new UsageError(
    `--choice: expected keep, restore or accept, got ${choice === undefined ? 'nothing' : `"${choice}"`}`,
  )
}

function openLines(branches: readonly OpenUndo[]): string {
  return table(
    ['SAGA/ID', 'STEP', 'SERVICE', 'SINCE', 'CHANGES', 'TABLES'],
    branches.map(({ saga, id, step, service, since, changes, tables }) => [
      `${saga}/${id}`,
      step,
      service,
      ago(since),
      String(changes),
      tables.join(', '),
    ]),
  )
}

function differenceLines(differences: readonly UndoDifference[]): string {
  if (differences.length === 0) return 'All rows are as the branch left them.'
  return table(
    ['TABLE', 'KEY', 'COLUMN', 'EXPECTED', 'FOUND'],
    differences.map(({ table: of, key, column = '(row)', expected, found }) => [
      of,
      Object.entries(key)
        .map(([name, value]) => `${name}=${value ?? 'null'}`)
        .join(' '),
      column,
      expected,
      found,
    ]),
  )
}
