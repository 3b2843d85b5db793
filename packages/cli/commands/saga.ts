/** `saga list` and `saga show`: the state of sagas. */

import type { SagaStatus } from '../engine-types.ts'
import type { SagaView } from '../sagas/admin.ts'
import type { SagaLine } from '../sagas/saga-list.ts'
import { failureName } from '../words.ts'
import { type Command, DATABASE_OPTIONS, type Outcome, WATCH_OPTION } from './command.ts'
import { failureText } from './failure-text.ts'
import { ago, iso, printable, table } from './output.ts'
import { FILTER_OPTIONS, filterOf, targetOf } from './saga-filter.ts'
import { flag, none, text, whole } from './values.ts'

const list: Command = {
  name: 'saga list',
  summary: 'lists sagas, oldest first',
  options: {
    status: { type: 'string', hint: 'STATUS', about: 'running, compensating, stuck, completed or compensated' },
    ...FILTER_OPTIONS,
    limit: { type: 'string', hint: 'N', about: 'at most so many (default: 100)' },
    after: { type: 'string', hint: 'NEXT', about: 'goes on where a page ended' },
    ...DATABASE_OPTIONS,
    ...WATCH_OPTION,
  },
  examples: [
    'npx concordat saga list --status stuck',
    'npx concordat saga list --saga buy --older-than 2h --limit 20 --json',
  ],
  async run({ values, positionals, operator }) {
    none(positionals)
    const status = text(values, 'status') as SagaStatus | undefined
    const options = { ...filterOf(values), status, limit: whole(values, 'limit'), after: text(values, 'after') }
    const page = await (await operator()).sagas.list(options)
    const more = page.next === null ? '' : `more: --after ${page.next}\n`
    return { text: `${lines(page.sagas)}\n${more}`, json: page }
  },
}

const show: Command = {
  name: 'saga show',
  summary: 'shows a saga: its steps, their errors, its timeline',
  takes: 'SAGA/ID',
  options: {
    payloads: { type: 'boolean', about: 'the input and the results, too' },
    ...DATABASE_OPTIONS,
  },
  examples: ['npx concordat saga show buy/o-1', 'npx concordat saga show buy/o-1 --payloads --json'],
  async run(invocation): Promise<Outcome> {
    const target = targetOf(invocation.positionals)
    const { sagas } = await invocation.operator()
    const view = await sagas.show(target, { payloads: flag(invocation.values, 'payloads') })
    return { text: describe(view), json: view }
  },
}

export const SAGA_COMMANDS: readonly Command[] = [list, show]

function lines(sagas: readonly SagaLine[]): string {
  return table(
    ['SAGA/ID', 'V', 'STATUS', 'FAILED AT', 'CODE', 'WAITS ON', 'STARTED', 'CHANGED'],
    sagas.map(({ saga, id, version, status, failure, waitingOn, startedAt, changedAt }) => [
      `${saga}/${id}`,
      String(version),
      status,
      failure?.step ?? '-',
      failure === null ? '-' : (failureName(failure) ?? '-'),
      waitingOn.join(',') || '-',
      ago(startedAt),
      ago(changedAt),
    ]),
  )
}

function describe(view: SagaView): string {
  const { saga, id, version, status, failure, owner, startedAt, steps, timeline, pending } = view
  const parts = [
    `${printable(`${saga}/${id}`)}  v${version}  ${status}  started ${iso(startedAt)}  owner ${owner ?? '-'}`,
    ...(failure === null
      ? []
      : [printable(`${status === 'stuck' ? 'stuck on' : 'failed at'} ${failure.step}: ${failureText(failure)}`)]),
    '',
    table(
      ['STEP', 'STATUS', 'TRIED', 'WAITS FOR', 'ERROR'],
      steps.map(({ step, status: state, tried, wait, error }) => [
        step,
        state,
        String(tried),
        wait ?? '-',
        error === undefined ? '-' : failureText(error),
      ]),
    ),
    '',
    table(
      ['AT', 'WHAT', 'STEP', 'DETAIL'],
      timeline.map(({ at, kind, step, detail }) => [iso(at), kind, step ?? '-', detailOf(detail)]),
    ),
    ...pending.map(({ action, by, reason }) => printable(`waits for an instance: ${action} by ${by}: ${reason}`)),
    ...(view.input === undefined ? [] : ['', `input: ${JSON.stringify(view.input)}`]),
    ...steps.flatMap(({ step, result }) => (result === undefined ? [] : [`${step}: ${JSON.stringify(result)}`])),
  ]
  return `${parts.join('\n')}\n`
}

function detailOf(detail: Readonly<Record<string, string | number>> | undefined): string {
  return Object.entries(detail ?? {})
    .filter(([name]) => name !== 'request')
    .map(([name, value]) => `${name}: ${value}`)
    .join(', ')
}
