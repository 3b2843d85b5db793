/** `bus`: lists the instances on the bus, and sends an event to some of them. */
import { formatAddress } from 'concordat/bus'
import type { BusReport } from '../bus-admin.ts'
import {
  ACTION_OPTIONS,
  BROKER_OPTIONS,
  type Command,
  DATABASE_OPTIONS,
  type OptionSpecs,
  UsageError,
  type Values,
} from './command.ts'
import { printable, table } from './output.ts'
import { durationMs, none, note, only, text } from './values.ts'

/** Explains an empty list: instances may run without a bus, or on another one. */
export const UNHEARD: string =
  'unknown: no instance that fits is heard. Give the services a bus (option bus of createService), and this command its broker ' +
  '(--kafka or --rabbitmq; else the log in the database), its --channel and, if it is signed, its secret in $CONCORDAT_BUS_SECRET.'

export const BUS_PLACE: OptionSpecs = {
  channel: { type: 'string', hint: 'NAME', about: 'of the bus (default: concordat.bus)' },
  cluster: {
    type: 'string',
    hint: 'NAME',
    about: 'whose members are on the bus, where it takes them from a membership (default: who says so on the bus)',
  },
  listen: { type: 'string', hint: 'TIME', about: 'how long instances have to say that they are there (default: 2s)' },
  ...BROKER_OPTIONS,
  ...DATABASE_OPTIONS,
}

const members: Command = {
  name: 'bus members',
  summary: 'lists the instances on the bus; a signed bus needs its secret in $CONCORDAT_BUS_SECRET',
  options: BUS_PLACE,
  examples: ['npx concordat bus members', 'npx concordat bus members --json'],
  async run({ values, positionals, operator }) {
    none(positionals)
    const found = await (await operator({ bus: placeOf(values) })).bus.members({
      listenMs: durationMs(values, 'listen'),
    })
    const rows = found.map((address) => [formatAddress(address), address.service, address.group, address.instance])
    if (rows.length === 0) return { text: `${UNHEARD}\n`, json: { members: found, problem: UNHEARD }, code: 1 }
    return { text: `${table(['ADDRESS', 'SERVICE', 'GROUP', 'INSTANCE'], rows)}\n`, json: { members: found } }
  },
}

const send: Command = {
  name: 'bus send',
  summary: 'sends an event to instances and says who did it',
  takes: 'EVENT',
  options: {
    to: { type: 'string', hint: 'PATTERN', about: "which: 'orders:**', 'orders:eu:*', '**' (required)" },
    payload: { type: 'string', hint: 'JSON', about: 'what it says (default: {})' },
    timeout: { type: 'string', hint: 'TIME', about: 'how long answers are waited for (default: 5s)' },
    ...BUS_PLACE,
    ...ACTION_OPTIONS,
  },
  examples: [
    `npx concordat bus send set-log-level --to 'shop:**' --payload '{"level":"debug"}' --reason "looking for o-17" --yes`,
    `npx concordat bus send refresh --to '**' --reason "new prices" --yes --json`,
  ],
  async run(invocation) {
    const { values } = invocation
    const event = only(invocation, 'EVENT')
    const to = text(values, 'to')
    if (to === undefined || to === '') throw new UsageError("this needs --to PATTERN, such as --to 'orders:**'")
    const order = {
      event,
      to,
      payload: payloadOf(values),
      timeoutMs: durationMs(values, 'timeout'),
      listenMs: durationMs(values, 'listen'),
      ...note(invocation),
    }
    const { bus } = await invocation.operator({ bus: placeOf(values) })
    const plan = await bus.send({ ...order, dryRun: true })
    if (plan.addressed.length === 0) {
      return {
        text: `No instance on the bus matches ${printable(to)}: nothing was sent.\n`,
        json: { ...plan, done: false },
        code: 1,
      }
    }
    const asked = plan.addressed.map((address) => `  ${printable(address)}`).join('\n')
    if (
      !(await invocation.confirm(
        `${printable(plan.event)} goes to\n${asked}\nand any other instance that matches ${printable(to)} when it is sent.`,
        'Send it?',
      ))
    ) {
      return { text: 'Nothing was sent.\n', json: { ...plan, done: false }, code: 1 }
    }
    const report = await bus.send({ ...order, dryRun: false })
    const isGood = report.failed.length === 0 && report.missing.length === 0 && report.acked.length > 0
    return { text: `${said(report)}\n`, json: { ...report, done: true }, code: isGood ? 0 : 1 }
  },
}

export const BUS_COMMANDS: readonly Command[] = [members, send]

function said({ acked, failed, ignored, missing }: BusReport): string {
  return table(
    ['ADDRESS', 'ANSWER'],
    [
      ...acked.map((address) => [address, 'done']),
      ...failed.map(({ address, error }) => [address, `failed: ${error.message}`]),
      ...ignored.map((address) => [address, 'has no handler for it']),
      ...missing.map((address) => [address, 'no answer: it may have done it or not']),
    ],
  )
}

export function placeOf(values: Values): {
  readonly channel: string | undefined
  readonly cluster: string | undefined
} {
  return { channel: text(values, 'channel'), cluster: text(values, 'cluster') }
}

/**
 * @throws UsageError, which does not repeat the given value: it may contain a secret
 */
function payloadOf(values: Values): unknown {
  const given = text(values, 'payload')
  if (given === undefined) return undefined
  try {
    return JSON.parse(given) as unknown
  } catch {
    throw new UsageError('--payload: expected JSON, such as \'{"level":"debug"}\'')
  }
}
