/**
 * A hundred thousand sagas that wait on a timer: the time until a new process serves beside them, and the cost of
 * idling.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import pg from 'pg'
import { median } from '../compare.ts'
import { cpuUsOfTree, rssMb } from '../cpu.ts'
import type { SuiteOptions } from '../main.ts'
import type { PostgresBed } from '../postgres-bed.ts'
import { sharedNow, Worker } from '../processes.ts'
import { number } from '../table.ts'
import { verdict } from '../target.ts'
import type { ParkedReport } from './parked-worker.ts'

const SAGAS = 100_000
const STARTS = 3
/** Time until the work set off by the start is over. */
const SETTLE_MS = 3_000
const IDLE_MS = 25_000
const START_TARGET_MS = 5_000
const IDLE_TARGET_PERCENT = 5

const HEAD = ['what', 'value', 'target'] as const

export async function measureParked(postgres: PostgresBed, options: SuiteOptions): Promise<void> {
  const url = await postgres.database('parked')
  const alone = await startUp(url, undefined)
  options.progress(`starting ${SAGAS} sagas that wait on a timer`)
  const parkedMs = await park(url)
  await quiesce(url)
  options.progress(`${STARTS} coordinators coming up beside them, then ${IDLE_MS / 1_000} s of doing nothing`)
  const starts: Start[] = []
  for (let n = 0; n < STARTS; n++) starts.push(await startUp(url, undefined))
  const idle = await idleBeside(url, postgres)
  const served = Math.max(...starts.map(({ servedMs }) => servedMs))
  const both = idle.processPercent + idle.serverPercent
  const percent = (value: number): string => `${value.toFixed(2)} %`
  options.report({
    title: `saga: ${SAGAS.toLocaleString('en')} parked on a timer (CPU in % of one core)`,
    head: HEAD,
    rows: [
      ['parked by coordinator.start, sagas/s', number((SAGAS / parkedMs) * 1_000), '-'],
      ['from the start of a process to its first saga ended, none parked, ms', number(alone.servedMs), '-'],
      ['the same beside them, median, ms', number(median(starts.map(({ servedMs }) => servedMs))), '-'],
      [`the same, slowest of ${STARTS}, ms`, number(served), verdict(served, { atMost: START_TARGET_MS }, ' ms')],
      ['of this until the coordinator runs, median, ms', number(median(starts.map(({ readyMs }) => readyMs))), '-'],
      ['CPU time of the process until then, median, ms', number(median(starts.map(({ cpuMs }) => cpuMs))), '-'],
      ['CPU time of a process until then, none parked, ms', number(alone.cpuMs), '-'],
      ['idle, CPU of its process', percent(idle.processPercent), '-'],
      ['idle, CPU of PostgreSQL', percent(idle.serverPercent), '-'],
      ['idle, CPU of both', percent(both), verdict(both, { atMost: IDLE_TARGET_PERCENT }, ' %')],
      ['idle, transactions/s', number(idle.commitsPerSecond), '-'],
      ['memory of its process (RSS), MB', number(idle.rssMb), '-'],
    ],
  })
}

interface Start {
  readonly readyMs: number
  readonly servedMs: number
  /** CPU time of the process until then, which matters on a busy machine. */
  readonly cpuMs: number
}

function worker(url: string, what: 'park' | 'serve'): Worker<ParkedReport> {
  return new Worker<ParkedReport>(new URL('./parked-worker.ts', import.meta.url), [what, url, String(SAGAS)])
}

async function park(url: string): Promise<number> {
  await using parking = worker(url, 'park')
  await parking.report('ready')
  const startedAt = sharedNow()
  await parking.report('parked')
  return sharedNow() - startedAt
}

/** Finishes vacuum and checkpoint of earlier writes before anything is measured. */
async function quiesce(url: string): Promise<void> {
  const client = new pg.Client({ connectionString: url })
  await client.connect()
  await client.query('VACUUM (ANALYZE)')
  await client.query('CHECKPOINT')
  await client.end()
}

/** @param then what to do while the process is up */
async function startUp(
  url: string,
  then: ((process: Worker<ParkedReport>) => Promise<void>) | undefined,
): Promise<Start> {
  const startedAt = sharedNow()
  await using coming = worker(url, 'serve')
  await coming.report('ready')
  const readyMs = sharedNow() - startedAt
  await coming.report('served')
  const servedMs = sharedNow() - startedAt
  const cpuMs = cpuUsOfTree(coming.pid) / 1_000
  await then?.(coming)
  return { readyMs, servedMs, cpuMs }
}

interface Idle {
  readonly processPercent: number
  readonly serverPercent: number
  readonly commitsPerSecond: number
  readonly rssMb: number
}

async function idleBeside(url: string, postgres: PostgresBed): Promise<Idle> {
  let idle: Idle = { processPercent: NaN, serverPercent: NaN, commitsPerSecond: NaN, rssMb: NaN }
  await startUp(url, async ({ pid }) => {
    await sleep(SETTLE_MS)
    const before = await postgres.counters('parked')
    const [process, server, at] = [cpuUsOfTree(pid), postgres.cpuUs(), performance.now()]
    await sleep(IDLE_MS)
    const us = (performance.now() - at) * 1_000
    const share = (now: number, then: number): number => ((now - then) / us) * 100
    idle = {
      processPercent: share(cpuUsOfTree(pid), process),
      serverPercent: share(postgres.cpuUs(), server),
      commitsPerSecond: ((await postgres.counters('parked')).commits - before.commits) / (us / 1e6),
      rssMb: rssMb(pid),
    }
  })
  return idle
}
