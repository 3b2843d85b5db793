/** Runs with `--data` and kills the run with -9 repeatedly, each time after some progress. */
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import type { Report } from '../../../../examples/order-payment/run/report.ts'
import { type Folder, folder, start } from './command.ts'
import { type Expected, expected } from './model.ts'
import { mulberry32, orderFiles } from './orders.ts'

export interface LivesOptions {
  readonly seed: number
  readonly kills: number
  readonly signal?: AbortSignal | undefined
  /** Called after each kill. */
  readonly onKilled?: ((text: string) => void) | undefined
}

export interface Lives {
  readonly report: Report
  readonly model: Expected
  /** Numbers of lives killed during the start, and while orders were in flight. */
  readonly killed: { readonly starting: number; readonly working: number }
  /** Runs that failed before they were killed, with their exit codes. A run that had finished does not count. */
  readonly ended: readonly string[]
}

const STARTING = 0.25
/** More than are done from one line of progress to the one after the next: so there is work left for the next life. */
const ORDERS_PER_LIFE = 550
const STARTS_MS = 3_000
/** A line of progress comes every two seconds: the kill is at any moment between two. */
const LINE_MS = 2_000
/** Time without progress after which a life is killed anyway. */
const LONGEST_MS = 60_000

/** @throws when the last run, which is not killed, writes no report */
export async function playLives(options: LivesOptions): Promise<Lives> {
  const { seed, kills } = options
  await using place = await folder()
  const random = mulberry32(seed)
  const lines = 100 + ORDERS_PER_LIFE * kills
  const files = orderFiles({ seed, lines, customers: 20, skus: 8, plenty: 0.6 })
  const args = [...(await place.orders(files)), '--data', join(place.path, 'data')]
  const killed = { starting: 0, working: 0 }
  const ended: string[] = []
  for (let n = 0, isOver = false; n < kills && !isOver; n++) {
    options.signal?.throwIfAborted()
    const isStarting = n > 0 && random() < STARTING
    const target = Math.floor(((n + random()) / (kills + 1)) * lines)
    const life = await oneLife(args, isStarting ? undefined : target, random, options.signal)
    isOver = life.code !== null
    if (isOver && life.code !== 0)
      ended.push(`life ${n + 1} ended by itself with ${life.code}: ${life.stderr.slice(-500)}`)
    if (!isOver) killed[isStarting ? 'starting' : 'working']++
    options.onKilled?.(`life ${n + 1} at ${life.lastLine}`)
  }
  return { report: await lastLife(place, args), model: expected(files), killed, ended }
}

/**
 * @param target number of ended orders; `undefined`: while it starts
 */
async function oneLife(
  args: readonly string[],
  target: number | undefined,
  random: () => number,
  signal: AbortSignal | undefined,
) {
  const running = start(args)
  const { child, ended } = running
  const over = new AbortController()
  const signals = signal === undefined ? [over.signal] : [over.signal, signal]
  const wait = (ms: number): Promise<unknown> =>
    pause(ms, undefined, { signal: AbortSignal.any(signals) }).catch(() => {})
  void ended.then(() => over.abort())
  if (target === undefined) await wait(random() * STARTS_MS)
  else {
    const reached = new Promise<void>((resolve) => {
      child.stderr?.on('data', () => {
        if (endedOrders(running.stderr()) >= target) resolve()
      })
    })
    await Promise.race([reached, wait(LONGEST_MS)])
    await wait(random() * LINE_MS)
  }
  child.kill('SIGKILL')
  const { code } = await ended
  return { code, stderr: running.stderr(), lastLine: running.stderr().trim().split('\n').at(-1) ?? '' }
}

/** Reads the number of ended orders from the last line of progress. */
function endedOrders(stderr: string): number {
  const all = [...stderr.matchAll(/^(?<ended>\d+) of \d+ orders ended/gm)]
  return Number(all.at(-1)?.groups?.['ended'] ?? 0)
}

async function lastLife(place: Folder, args: readonly string[]): Promise<Report> {
  return (await place.report(args)).report
}

/** Differences to a run without kills, by the name of the promise; empty: all is well. */
export function faultsOfLives({ report, model, ended }: Pick<Lives, 'report' | 'model' | 'ended'>) {
  const missed: string[] = []
  for (const [what, wanted] of Object.entries(model.orders)) {
    const got = report.orders[what as keyof typeof report.orders]
    if (got !== wanted) missed.push(`${what}: ${got} orders, ${wanted} without a kill`)
  }
  if (report.receipts !== model.orders.confirmed)
    missed.push(`${report.receipts} receipts of ${model.orders.confirmed} confirmed orders`)
  const books: string[] = []
  if (!report.ledger.balanced || report.ledger.chargedCents !== model.chargedCents)
    books.push(`charged ${report.ledger.chargedCents} of ${model.chargedCents}, balanced: ${report.ledger.balanced}`)
  if (!report.stock.balanced || report.stock.shipped !== model.shipped)
    books.push(`shipped ${report.stock.shipped} of ${model.shipped}, balanced: ${report.stock.balanced}`)
  return { 'the next goes on': [...ended], 'nothing is missed': missed, 'the books balance': books }
}
