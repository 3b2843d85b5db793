/** Terminal output: progress on standard error, the result on standard output. */
import cliProgress from 'cli-progress'
import type { IntakeCounts } from '../intake/intake.ts'
import type { Report } from './report.ts'

export interface Progress {
  /** Updates the progress. @param board lines of instances to show next to it */
  show(counts: IntakeCounts, restarts: number, board: readonly string[]): void
  /** Prints one line at once. */
  say(line: string): void
  stop(): void
}

/** Creates a progress bar on a terminal, else a line every 2 s. @param total expected lines; `undefined` if unknown */
export function createProgress(total: number | undefined): Progress {
  return process.stderr.isTTY ? bar(total) : lines(total)
}

function bar(total: number | undefined): Progress {
  const progress = new cliProgress.SingleBar({
    format: 'orders |{bar}| {value}/{total}  {duration_formatted}  restarts {restarts}  {board}',
    barCompleteChar: '=',
    barIncompleteChar: ' ',
    hideCursor: true,
    clearOnComplete: true,
    stream: process.stderr,
  })
  progress.start(total ?? 0, 0, { restarts: 0, board: '' })
  return {
    show: (counts, restarts, board) => {
      progress.setTotal(Math.max(total ?? 0, counts.read))
      progress.update(counts.ended, { restarts, board: board.join(', ') })
    },
    // Replaces the bar, which is drawn again on the next line.
    say: (line) => void process.stderr.write(`\r\u001B[K${line}\n`),
    stop: () => progress.stop(),
  }
}

const LINE_EVERY_MS = 2_000

function lines(total: number | undefined): Progress {
  let last = performance.now()
  return {
    show: (counts, restarts, board) => {
      if (performance.now() - last < LINE_EVERY_MS) return
      last = performance.now()
      const of = total === undefined ? `${counts.read} read` : `${Math.max(total, counts.read)}`
      const parts = [
        `${counts.ended} of ${of} orders ended`,
        ...(restarts > 0 ? [`${restarts} restarts`] : []),
        ...board,
      ]
      process.stderr.write(`${parts.join(', ')}\n`)
    },
    say: (line) => void process.stderr.write(`${line}\n`),
    stop: () => {},
  }
}

const MAX_INVALID_SHOWN = 5

/** Formats the table of outcomes, the checks and the notes. */
export function describeResult(report: Report, faults: readonly string[], notes: readonly string[]): string {
  const { orders, ledger, stock } = report
  const rows: Array<readonly [string, number, string]> = [
    ['confirmed', orders.confirmed, `${report.receipts} receipts`],
    ['declined', orders.declined, 'by the bank, or over the balance'],
    ['out of stock', orders.outOfStock, 'too few units, or an unknown sku'],
    ['duplicate', orders.duplicate, 'the same order again: one saga'],
    ['conflict', orders.conflict, 'a different order under a known id: refused'],
    ['invalid', orders.invalid, 'see below'],
    ['stuck', orders.stuck, 'no final state'],
    ['read', orders.read, `in ${(report.elapsedMs / 1_000).toFixed(1)} s, ${report.ordersPerSecond} orders/s`],
  ]
  const width = Math.max(...rows.map(([, count]) => String(count).length))
  return [
    '',
    ...rows.map(([name, count, note]) => `  ${name.padEnd(12)} ${String(count).padStart(width)}   ${note}`),
    '',
    `  ledger  ${money(ledger.openingCents)} - ${money(ledger.chargedCents)} charged + ${money(ledger.refundedCents)} refunded = ${money(ledger.closingCents)}   ${verdict(ledger.balanced)}`,
    `  stock   ${stock.opening} - ${stock.shipped} shipped = ${stock.closing}   ${verdict(stock.balanced)}`,
    `  leader terms ${report.leaderTerms}, restarts ${report.restarts}`,
    '',
    ...invalidText(report),
    ...faults.map((fault) => `  FAULT: ${fault}`),
    ...notes.map((note) => `  ${note}`),
    `  Next: examples/order-payment/README.md explains the path of an order and what happens at each kill.`,
    '',
  ].join('\n')
}

function invalidText({ invalidLines }: Report): readonly string[] {
  if (invalidLines.length === 0) return []
  const shown = invalidLines.slice(0, MAX_INVALID_SHOWN).map(({ line, error }) => `  line ${line}: ${error}`)
  const more = invalidLines.length - shown.length
  return [
    ...shown,
    ...(more > 0 ? [`  and ${more} more invalid lines, all of them in the report (--report FILE)`] : []),
    '',
  ]
}

function money(cents: number): string {
  return (cents / 100).toFixed(2)
}

function verdict(balanced: boolean): string {
  return balanced ? 'balanced' : 'NOT BALANCED'
}
