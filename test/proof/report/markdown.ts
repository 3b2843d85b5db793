/** A report for people. */
import type { RunOptions } from '../command-line.ts'
import type { Report } from './report.ts'

const MB = 1_000_000
const SECOND = 1_000

export function commandOf({ transport, messages, faults, seed, broken }: RunOptions): string {
  const mistake = broken === undefined ? '' : ` --broken ${broken}`
  return `npm run proof -- --transport ${transport} --messages ${messages} --faults ${faults} --seed ${seed}${mistake}`
}

export function markdownOf(report: Report): string {
  const { options, exact, gaveUp, elapsedMs, lives, troubles } = report
  const resumed = lives === 1 ? '' : `, begun ${lives} times`
  return [
    `## ${options.transport}: ${exact ? 'exact' : 'NOT EXACT'}${gaveUp ? ', given up' : ''}`,
    `\`${commandOf(options)}\`, ${duration(elapsedMs)}${resumed}.`,
    ...(troubles.length === 0 ? [] : [troubles.map((line) => `- ${line}`).join('\n')]),
    countsTable(report),
    faultsTable(report),
    memoryTable(report),
    diskTable(report),
  ].join('\n\n')
}

function countsTable({ counts, wrong }: Report): string {
  const rows: readonly (readonly [string, number])[] = [
    ['messages sent', counts.sent],
    ['accepted', counts.accepted],
    ['handled', counts.handled],
    ['of these orders', counts.ordersHandled],
    ['commands', counts.commands],
    ['answers', counts.answers],
    ['receipts', counts.receipts],
    ['effects', counts.effects],
    ['orders through an outbox', counts.ordersByOutbox],
    ['orders sent again, without a confirmation the first time', counts.ordersSentAgain],
    ['sagas completed', counts.completed],
    ['sagas compensated', counts.compensated],
    ['duplicates seen by an inbox', counts.duplicates],
    ['commands asked again', counts.askedAgain],
    ['writes under the lock', counts.fencedWrites],
    ...Object.entries(wrong).map(([name, count]) => [`**${name}**`, count] as const),
  ]
  return table(
    ['', 'count'],
    rows.map(([name, count]) => [name, number(count)]),
  )
}

function faultsTable({ faults, stalls }: Report): string {
  const stallOf = new Map(stalls.map(({ cause, ms }) => [cause, ms]))
  return table(
    [
      'fault',
      'times',
      'until all ran again, longest s',
      'until the next order was done, longest s',
      'longest stall, s',
    ],
    [
      ...faults.map(({ kind, times, longestMs, longestToMoveMs }) => [
        kind,
        String(times),
        seconds(longestMs),
        seconds(longestToMoveMs),
        seconds(stallOf.get(kind) ?? 0),
      ]),
      ['none', '', '', '', seconds(stallOf.get('none') ?? 0)],
    ],
  )
}

function memoryTable({ memory }: Report): string {
  return table(
    [
      'process',
      'RSS, least to most MB',
      'slope of RSS, MB a minute',
      'slope of the heap',
      'over minutes',
      'in stretches',
    ],
    memory.map(({ name, rss, heap }) => [
      name,
      `${(rss.least / MB).toFixed(0)} to ${(rss.most / MB).toFixed(0)}`,
      slope(rss.perMinute),
      slope(heap?.perMinute),
      rss.minutes.toFixed(0),
      String(rss.stretches),
    ]),
  )
}

function diskTable({ disk }: Report): string {
  return table(
    ['server', 'most on disk, MB', 'at the end'],
    Object.entries(disk).map(([name, { most, last }]) => [name, (most / MB).toFixed(0), (last / MB).toFixed(0)]),
  )
}

function table(heads: readonly string[], rows: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]): string => `| ${cells.join(' | ')} |`
  return [line(heads), line(heads.map(() => '---')), ...rows.map(line)].join('\n')
}

function slope(perMinute: number | undefined): string {
  return perMinute === undefined ? 'too short to tell' : (perMinute / MB).toFixed(3)
}

function number(count: number): string {
  return count.toLocaleString('en')
}

function seconds(ms: number): string {
  return (ms / SECOND).toFixed(1)
}

export function duration(ms: number): string {
  const minutes = Math.floor(ms / (60 * SECOND))
  const rest = Math.round((ms % (60 * SECOND)) / SECOND)
  return minutes < 60 ? `${minutes} min ${rest} s` : `${Math.floor(minutes / 60)} h ${minutes % 60} min`
}
