/** `outbox`: messages that the relay gave up on. */
import { counted } from '../../core/counted.ts'
import type { HeldMessage } from '../../outbox/parked.ts'
import { duration } from '../doctor/line.ts'
import {
  ACTION_OPTIONS,
  type Command,
  DATABASE_OPTIONS,
  type Invocation,
  type OptionSpecs,
  type Outcome,
  WATCH_OPTION,
} from './command.ts'
import { ago, table } from './output.ts'
import { none, note, only, text, whole } from './values.ts'

const WHICH: OptionSpecs = {
  destination: { type: 'string', hint: 'NAME', about: 'which of several messages with this id' },
  source: { type: 'string', hint: 'NAME', about: 'which of several messages with this id' },
}
const ID = 'the ID of a message: see concordat outbox list'

const list: Command = {
  name: 'outbox list',
  summary: 'shows what is pending, and the parked messages, oldest first',
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
    const parked = await outbox.parked({ limit: whole(values, 'limit') })
    const rows = parked.map(({ id, destination, source, key, attempts, parkedAt, lastError }) => [
      id,
      destination,
      source,
      key ?? '-',
      String(attempts),
      ago(parkedAt),
      lastError,
    ])
    const summary = `${stats.pending} pending, the oldest ${duration(stats.oldestAgeMs)}; ${stats.parked} parked, ${counted(stats.blockedKeys, 'key')} held back`
    const lines =
      parked.length === 0 ? '' : `${table(['ID', 'DESTINATION', 'SOURCE', 'KEY', 'TRIED', 'PARKED', 'ERROR'], rows)}\n`
    return { text: `${summary}\n${lines}`, json: { stats, parked } }
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
