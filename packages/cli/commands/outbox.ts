/** `outbox`: messages that the relay has parked. */

import { duration, orMore } from '../doctor/line.ts'
import type { HeldMessage, ParkedLine } from '../engine-types.ts'
import { counted } from '../words.ts'
import {
  ACTION_OPTIONS,
  type Command,
  DATABASE_OPTIONS,
  type Invocation,
  type OptionSpecs,
  type Outcome,
  WATCH_OPTION,
} from './command.ts'
import { ago, cutLine, shownKey, table } from './output.ts'
import { none, note, only, text, whole } from './values.ts'

const WHICH: OptionSpecs = {
  destination: { type: 'string', hint: 'NAME', about: 'which of several messages with this id' },
  source: { type: 'string', hint: 'NAME', about: 'which of several messages with this id' },
}
const DEFAULT_LIMIT = 100
const ID = 'the ID of a message: see concordat outbox list'

const list: Command = {
  name: 'outbox list',
  summary: 'shows what is pending, what fails and is tried again, and the parked messages',
  options: {
    limit: { type: 'string', hint: 'N', about: 'at most so many (default: 100)' },
    ...DATABASE_OPTIONS,
    ...WATCH_OPTION,
  },
  examples: ['npx concordat outbox list', 'npx concordat outbox list --limit 10 --json'],
  async run({ values, positionals, operator }) {
    none(positionals)
    const { outbox } = await operator()
    const stats = await outbox.stats()
    const limit = whole(values, 'limit') ?? DEFAULT_LIMIT
    const [failing, parked] = [await outbox.failing({ limit }), await outbox.parked({ limit })]
    const summary = `${orMore(stats.pending)} pending, the oldest ${duration(stats.oldestAgeMs)}; ${stats.parked} parked, ${counted(stats.blockedKeys, 'key')} held back`
    const cut = (lines: readonly unknown[]): string => cutLine(lines.length >= limit, limit, ': raise --limit')
    const tables = [
      `${linesOf('FAILING SINCE', failing, ({ addedAt }) => addedAt)}${cut(failing)}`,
      `${linesOf('PARKED', parked, ({ parkedAt }) => parkedAt)}${cut(parked)}`,
    ]
    const more = { failing: failing.length >= limit, parked: parked.length >= limit }
    return { text: [`${summary}\n`, ...tables].join(''), json: { stats, failing, parked, more } }
  },
}

const retry: Command = {
  name: 'outbox retry',
  summary: 'lets a failed message be tried again',
  takes: 'ID',
  options: { ...WHICH, ...DATABASE_OPTIONS, ...ACTION_OPTIONS },
  examples: ['npx concordat outbox retry m-1 --reason "the topic is there now"'],
  async run(invocation) {
    const who = note(invocation)
    const which = whichOf(invocation)
    return outcomeOf('retry', which, await (await invocation.operator()).outbox.retry(which, who))
  },
}

const drop: Command = {
  name: 'outbox drop',
  summary: 'gives a failed message up and frees its key; it stays in outbox_audit',
  takes: 'ID',
  options: { ...WHICH, ...DATABASE_OPTIONS, ...ACTION_OPTIONS },
  examples: ['npx concordat outbox drop m-2 --reason "the order was deleted" --yes'],
  async run(invocation) {
    const who = note(invocation)
    const which = whichOf(invocation)
    const { outbox } = await invocation.operator()
    if (
      !(await invocation.confirm(
        `The message ${which.id} will not be sent; those behind it with its key will.`,
        'Drop it?',
      ))
    ) {
      return { text: 'Nothing was changed.\n', json: { action: 'drop', id: which.id, done: false }, code: 1 }
    }
    return outcomeOf('drop', which, await outbox.drop(which, who))
  },
}

/** `undefined` without a message. @param since the value of the column with that heading */
function linesOf<T extends Omit<ParkedLine, 'parkedAt'>>(
  head: string,
  lines: readonly T[],
  since: (line: T) => number,
): string {
  if (lines.length === 0) return ''
  const rows = lines.map((line) => {
    const { id, destination, source, key, attempts, lastError } = line
    return [id, destination, source, shownKey(key), String(attempts), ago(since(line)), lastError]
  })
  return `${table(['ID', 'DESTINATION', 'SOURCE', 'KEY', 'TRIED', head, 'ERROR'], rows)}\n`
}

export const OUTBOX_COMMANDS: readonly Command[] = [list, retry, drop]

function whichOf(invocation: Invocation): HeldMessage {
  const { values } = invocation
  return { id: only(invocation, ID), destination: text(values, 'destination'), source: text(values, 'source') }
}

function outcomeOf(action: 'retry' | 'drop', { id }: HeldMessage, done: boolean): Outcome {
  const found = action === 'retry' ? 'will be tried again' : 'was given up'
  return {
    text: done ? `${id} ${found}.\n` : `${id}: no message with this id has failed.\n`,
    json: { action, id, done },
    code: done ? 0 : 1,
  }
}
