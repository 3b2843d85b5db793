/** A run from its start, or from where it was interrupted, to its report. */
import { setTimeout as sleep } from 'node:timers/promises'
import { pgClient } from 'concordat/core/pg'
import type { Event } from '../../faults/harness/events.ts'
import type { Given } from '../command-line.ts'
import { UsageError } from '../errors.ts'
import { makeReport, type Report } from '../report/report.ts'
import { GIVEN_UP_SETTLES_MS, LOCK_WITHIN_MS, QUIET_MS, SETTLES_WITHIN_MS } from '../settings.ts'
import { ordersFor } from '../shop.ts'
import { poolAt } from '../tables.ts'
import { Conductor, KEPT, type Kept, type Told } from './conductor.ts'
import { type PlayedFault, RunFolder } from './folder.ts'
import { House, portsFor } from './house.ts'
import { type Databases, judge, openEnds } from './judge.ts'
import { missingTurn } from './lock-watch.ts'
import { planFaults } from './plan.ts'
import { Progress } from './progress.ts'
import { Sampler } from './samples.ts'
import { Staff } from './staff.ts'
import { WarningLog } from './warning-log.ts'

/** Counting a million orders takes its time. */
const JUDGE_QUERY_MS = 30 * 60_000
const REPORT = 'report.json'

export interface Watching {
  readonly signal: AbortSignal
  readonly told: (told: Told) => void
  readonly say: (line: string) => void
}

/** @throws UsageError; ServerUnavailable; the reason of the signal */
export async function run(given: Given, watching: Watching): Promise<Report> {
  await using stack = new AsyncDisposableStack()
  const folder = await RunFolder.open(given, portsFor)
  stack.defer(() => folder.close())
  const over = folder.kept<Report>(REPORT)
  if (over !== undefined) {
    watching.say(`the run in ${folder.path} is over: this is its report`)
    return over
  }
  const played = await playedIn(folder)
  if (given.resumes && !folder.hasServers && played > 0) {
    throw new UsageError('--dir', folder.path, 'The data of its servers is gone: begin another run.')
  }
  watching.say(`starting servers in ${folder.path}`)
  const house = await House.open(folder, watching.signal)
  stack.defer(() => house.close())
  const report = await playIn(folder, house, played, watching)
  // A run that gave up can be resumed: only a final report is kept.
  if (!report.gaveUp) folder.keep(REPORT, report)
  await house.close()
  if (report.exact) folder.dropServers()
  return report
}

async function playIn(
  folder: RunFolder,
  house: House,
  played: number,
  { signal: ending, told, say }: Watching,
): Promise<Report> {
  const failure = new AbortController()
  const signal = AbortSignal.any([ending, failure.signal])
  const databases = openDatabases(house)
  await using stack = new AsyncDisposableStack()
  stack.defer(databases.close)
  const { options } = folder.file
  const orders = ordersFor(options.messages)
  const log = new WarningLog(folder)
  const heard = (event: Event): void => {
    try {
      if (event.op === 'memory') sampler.heard(event)
      else if (event.op === 'log') log.write(event)
    } catch (error) {
      failure.abort(error)
    }
  }
  const staff = new Staff({ place: house.place, broken: options.broken, told: heard })
  stack.defer(() => staff.close())
  const sampler = new Sampler(folder, house, staff)
  const progress = new Progress(databases.shop, folder.kept<Kept>(KEPT)?.allUpTo)
  say('starting processes')
  await Promise.race([staff.hireAll(), given(signal)])
  const parts = { folder, house, staff, progress, sampler, failure }
  const conductor = new Conductor(parts, planFaults({ ...options, orders }), signal, told)
  await conductor.conduct(played)
  const { gaveUp } = conductor
  say(`${gaveUp ? 'nothing goes on any more' : 'all is done'}: waiting for what is left, and counting`)
  const settled = await settle(databases, gaveUp ? GIVEN_UP_SETTLES_MS : SETTLES_WITHIN_MS, signal)
  const missingTurns = await missingTurn(databases.shop, gaveUp ? GIVEN_UP_SETTLES_MS : LOCK_WITHIN_MS, signal)
  conductor.keep()
  await staff.close()
  const judgement = await judge(databases, {
    orders,
    isUnderWay: gaveUp && !settled,
    missingTurns,
  })
  return await makeReport(folder, judgement, gaveUp)
}

async function playedIn(folder: RunFolder): Promise<number> {
  let played = 0
  for await (const { number } of folder.read<PlayedFault>('faults')) played = number + 1
  return played
}

/** Waits until no message is in flight; the judge finds the rest. @returns whether that happened */
async function settle(databases: Databases, withinMs: number, signal: AbortSignal): Promise<boolean> {
  const deadline = performance.now() + withinMs
  while (performance.now() < deadline) {
    const open = await openEnds(databases).catch(() => Number.NaN)
    await sleep(open === 0 ? QUIET_MS : 500, undefined, { signal })
    if (open === 0) return true
  }
  return false
}

function openDatabases({ place }: House): Databases & { readonly close: () => Promise<void> } {
  const pools = [place.shop, place.payments, place.stock].map((url) => poolAt(url, 2, JUDGE_QUERY_MS))
  const [shop, payments, stock] = pools.map((pool) => pgClient(pool)) as [
    Databases['shop'],
    Databases['shop'],
    Databases['shop'],
  ]
  const close = async (): Promise<void> => {
    await Promise.all(pools.map((pool) => pool.end().catch(() => {})))
  }
  return { shop, payments, stock, close }
}

/** Rejects when the run is given up. */
function given(up: AbortSignal): Promise<never> {
  return new Promise((_, reject) => {
    if (up.aborted) reject(up.reason)
    else up.addEventListener('abort', () => reject(up.reason), { once: true })
  })
}
