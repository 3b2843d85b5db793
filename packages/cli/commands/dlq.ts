/** The `dlq` commands: list, show, redrive and drop dead letters. */
import type { DeadLetter } from 'concordat/binder'
import { shellWord } from 'concordat/extension'
import type { DeadLetterProgress, DeadLetterRedrive } from '../dead-letter-types.ts'
import type { RedriveReport } from '../engine-types.ts'
import { countsText } from '../redrive-counts-text.ts'
import { failureName } from '../words.ts'
import { ACTION_OPTIONS, type Command, type Invocation, type OptionSpecs, type Outcome, UsageError } from './command.ts'
import { PLACE, PLACE_OPTIONS, placeOf } from './group-arguments.ts'
import { ago, iso, printable, shownKey, table } from './output.ts'
import { flag, note, several, text, whole } from './values.ts'

const PROGRESS_MS = 2_000
/** Limit of a page. */
const MOST = 10_000
const WHICH: OptionSpecs = {
  code: { type: 'string', hint: 'CODE', about: 'of the error for which they failed' },
  id: { type: 'string', hint: 'ID', about: 'of the message' },
  limit: { type: 'string', hint: 'N', about: 'at most so many (default: 100)' },
}

const list: Command = {
  name: 'dlq list',
  summary: 'lists the dead letters of a group, oldest first',
  takes: PLACE.join(' '),
  options: {
    ...WHICH,
    after: { type: 'string', hint: 'NEXT', about: 'the page behind: `next` of the page before' },
    ...PLACE_OPTIONS,
  },
  examples: [
    'npx concordat dlq list orders.placed stock',
    'npx concordat dlq list orders.placed stock --code warehouse.away --json',
  ],
  async run(invocation) {
    const place = placeOf(invocation)
    const { letters } = await invocation.operator()
    const page = await letters.page(place, { ...whichOf(invocation), after: text(invocation.values, 'after') })
    const more = page.next === null ? '' : `more: --after ${page.next}\n`
    return {
      text: `${lines(page.letters)}\n${more}`,
      json: { letters: page.letters.map((letter) => asJson(letter)), next: page.next },
    }
  },
}

const NAME = 'ID or KEY'

const show: Command = {
  name: 'dlq show',
  summary: 'shows dead letters with their headers and errors: by id, by key, or by the beginning of one id',
  takes: [...PLACE, 'ID|KEY'].join(' '),
  options: { payloads: { type: 'boolean', about: 'the payload, too' }, ...PLACE_OPTIONS },
  examples: [
    'npx concordat dlq show orders.placed stock o-1',
    'npx concordat dlq show orders.placed stock o-1 --payloads --json',
  ],
  async run(invocation): Promise<Outcome> {
    const [channel, group, name] = several(invocation, [...PLACE, NAME] as const)
    const { letters } = await invocation.operator()
    const payloads = flag(invocation.values, 'payloads')
    const place = { channel, group, partitions: whole(invocation.values, 'partitions') }
    const byId = await letters.list(place, { id: name, payloads })
    const page = byId.length > 0 ? { letters: byId, next: null } : await letters.page(place, { limit: MOST, payloads })
    const found = byId.length > 0 ? byId : named(name, page.letters)
    if (
      new Set(found.map(({ id }) => id)).size > 1 &&
      found.some(({ key }) => !isText(name, key) && !isText(name, shownKey(key)))
    ) {
      const said = `${lines(found)}\n${printable(name)}: several ids begin with this. Give more of the one that you mean.\n`
      return { text: said, json: { letters: found.map((letter) => asJson(letter)) }, code: 1 }
    }
    if (found.length === 0) {
      const where = `npx concordat dlq list ${shellWord(channel)} ${shellWord(group)} lists them`
      const none =
        page.next === null
          ? 'no dead letter has this id or key'
          : `none of the first ${page.letters.length} dead letters has this id or key, and more are behind them`
      return {
        text: `${printable(name)}: ${none}. ${where}\n`,
        json: { letters: [] },
        code: 1,
      }
    }
    const said = found.map((letter) => describe(letter, payloads)).join('\n')
    return { text: said, json: { letters: found.map((letter) => asJson(letter, payloads)) } }
  },
}

/** Operators use what a list or a log line shows: an id, perhaps shortened, or the key. */
function named(name: string, letters: readonly DeadLetter[]): readonly DeadLetter[] {
  const fits = [
    ({ id }: DeadLetter) => isText(name, id),
    ({ key }: DeadLetter) => isText(name, key),
    ({ key }: DeadLetter) => isText(name, shownKey(key)),
    ({ id }: DeadLetter) => id.startsWith(name),
  ]
  return fits.map((fit) => letters.filter(fit)).find((found) => found.length > 0) ?? []
}

/** True if the value prints unchanged in a table. */
const isText = (name: string, value: string | null): boolean =>
  value !== null && (value === name || printable(value) === name)

const redrive: Command = {
  name: 'dlq redrive',
  summary: 'sends dead letters back, oldest first',
  takes: PLACE.join(' '),
  options: {
    ...WHICH,
    to: {
      type: 'string',
      hint: 'WHERE',
      about:
        'channel: to every group; group: to the one that failed (default: group on PostgreSQL, which refuses the other; else channel)',
    },
    'per-second': { type: 'string', hint: 'N', about: 'at most so many in a second (default: 100)' },
    'dry-run': { type: 'boolean', about: 'lists what would go back, and changes nothing' },
    ...PLACE_OPTIONS,
    ...ACTION_OPTIONS,
  },
  examples: [
    'npx concordat dlq redrive orders.placed stock --code warehouse.away --reason "it is back" --dry-run',
    'npx concordat dlq redrive orders.placed stock --id o-2 --reason "the warehouse is back" --yes',
  ],
  run: (invocation) => act(invocation, 'redrive'),
}

const drop: Command = {
  name: 'dlq drop',
  summary: 'gives dead letters up for good',
  takes: PLACE.join(' '),
  options: {
    ...WHICH,
    'dry-run': { type: 'boolean', about: 'lists what would be given up, and changes nothing' },
    ...PLACE_OPTIONS,
    ...ACTION_OPTIONS,
  },
  examples: ['npx concordat dlq drop orders.placed stock --id o-3 --reason "a test order" --yes'],
  run: (invocation) => act(invocation, 'drop'),
}

export const DLQ_COMMANDS: readonly Command[] = [list, show, redrive, drop]

function whichOf({ values }: Invocation) {
  return { code: text(values, 'code'), id: text(values, 'id'), limit: whole(values, 'limit') }
}

async function act(invocation: Invocation, action: 'redrive' | 'drop'): Promise<Outcome> {
  const { values, stop } = invocation
  const place = placeOf(invocation)
  const who = note(invocation)
  const to = destinationOf(text(values, 'to'))
  const { letters } = await invocation.operator()
  const run = { ...whichOf(invocation), ...who, signal: stop }
  let last: DeadLetterProgress | undefined
  const progress = progressOf(invocation, action)
  const onProgress = (at: DeadLetterProgress): void => progress((last = at))
  const order = (how: Pick<DeadLetterRedrive, 'dryRun' | 'among' | 'onProgress'>) =>
    action === 'drop'
      ? letters.drop(place, { ...run, ...how })
      : letters.redrive(place, { ...run, to, perSecond: whole(values, 'per-second'), ...how })
  const plan = await order({ dryRun: true })
  const outcome = (done: boolean, { sent, kept, copies, complete }: RedriveReport) => ({
    action,
    dryRun: !done,
    sent,
    kept,
    copies,
    complete,
    letters: plan.letters.map((letter) => asJson(letter)),
  })
  const dry = outcome(false, plan)
  const verb = action === 'drop' ? 'given up for good' : `sent back to the ${plan.to}`
  const intent = `${lines(plan.letters)}\n\n${plan.sent} of ${plan.sent + plan.kept} dead letters looked at would be ${verb}.${rest(plan)}`
  if (flag(values, 'dry-run')) return { text: `${intent}\n`, json: dry }
  if (plan.sent === 0 && !stop.aborted) {
    const among = plan.complete ? '' : ` among the first ${plan.kept}, and more are behind them`
    return { text: `No dead letter fits${among}.\n`, json: dry, code: 1 }
  }
  const question = action === 'drop' ? 'Give them up?' : 'Send them back?'
  if (stop.aborted || !(await invocation.confirm(intent, question)) || stop.aborted) {
    return { text: 'Nothing was changed.\n', json: dry, code: 1 }
  }
  // Only the letters shown, without those that failed later.
  const among = plan.letters.map(({ id }) => id)
  const report = await order({ dryRun: false, among, onProgress }).catch((error: unknown) => {
    if (last !== undefined) invocation.progress(`${action}: ${countsText(last, verb)}, then it failed`)
    throw error
  })
  const isStopped = stop.aborted && !report.complete
  const left = isStopped ? ' Stopped before the end: the others are still dead letters.' : rest(report)
  return { text: `${countsText(report, verb)}.${left}\n`, json: outcome(true, report), code: isStopped ? 1 : 0 }
}

/** Reports that a run ended at its limit, before it had read all dead letters. */
const rest = ({ complete }: RedriveReport): string => (complete ? '' : ' More dead letters are behind them.')

/** Prints progress periodically: thousands at a hundred per second take a while. */
function progressOf({ progress }: Invocation, action: string): (at: DeadLetterProgress) => void {
  let saidAt = performance.now()
  return ({ sent, kept, copies, of }) => {
    if (performance.now() - saidAt < PROGRESS_MS) return
    saidAt = performance.now()
    progress(`${action}: ${sent + kept + copies} of ${of ?? 'an unknown number'}, ${kept} kept`)
  }
}

function destinationOf(to: string | undefined): 'channel' | 'group' | undefined {
  if (to === undefined || to === 'channel' || to === 'group') return to
  throw new UsageError(`--to: expected channel or group, got "${to}"`)
}

function lines(letters: readonly DeadLetter[]): string {
  return table(
    ['ID', 'KEY', 'FAILED', 'TRIED', 'CODE', 'ERROR'],
    letters.map(({ id, key, failedAt, attempts, error }) => [
      id,
      shownKey(key),
      failedAt === undefined ? '-' : ago(failedAt),
      String(attempts ?? '-'),
      failureName(error) ?? '-',
      error.message ?? '-',
    ]),
  )
}

function describe(letter: DeadLetter, payloads: boolean): string {
  const { id, key, source, time, failedAt, attempts, service, position, headers, contentType, bytes, error } = letter
  const rows = [
    ['id', id],
    ['key', key ?? '-'],
    ['made', `${iso(time)} by ${source}`],
    [
      'failed',
      `${failedAt === undefined ? '-' : iso(failedAt)} in ${service ?? '-'} at ${position ?? '-'}, tried ${attempts ?? '-'}`,
    ],
    [
      'error',
      [error.name, error.code, error.message].filter((each) => each !== undefined && each !== '').join(' ') || '-',
    ],
    ['payload', `${bytes} bytes of ${contentType === '' ? 'unknown type' : contentType}`],
    ...Object.entries(headers).map(([name, value]) => [`header ${name}`, String(shownHeader(value))]),
  ].map((row) => row.map(printable))
  const width = Math.max(...rows.map(([name = '']) => name.length))
  const said = rows.map(([name = '', value]) => `${name.padEnd(width)}  ${value}`)
  const stack = (error.stack ?? '')
    .split('\n')
    .slice(1)
    .map((line) => `  ${printable(line.trim())}`)
  return `${[...said, ...stack, ...(payloads ? ['', printable(bodyOf(letter).text)] : [])].join('\n')}\n`
}

/** Valid text as text, other bytes as base64. */
function bodyOf({ body }: DeadLetter): { readonly text: string; readonly encoding: 'utf8' | 'base64' } {
  if (body === null) return { text: '', encoding: 'utf8' }
  try {
    return { text: new TextDecoder('utf-8', { fatal: true }).decode(body), encoding: 'utf8' }
  } catch {
    return { text: Buffer.from(body).toString('base64'), encoding: 'base64' }
  }
}

/** Bytes in the form of a key that is not UTF-8. */
function shownHeader(value: DeadLetter['headers'][string] | undefined): unknown {
  return value instanceof Uint8Array ? `base64:${Buffer.from(value).toString('base64')}` : value
}

function asJson(letter: DeadLetter, payloads = false): object {
  const { body: _, ...rest } = letter
  const headers = Object.entries(letter.headers).map(([name, value]) => [name, shownHeader(value)] as const)
  const said = { ...rest, headers: Object.fromEntries(headers) }
  return payloads ? { ...said, payload: bodyOf(letter) } : said
}
