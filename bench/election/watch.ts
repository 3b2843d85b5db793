/**
 * Delay between one writer and a hundred watchers of the same shared state in four processes, with a connection each.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { createSharedState, type SharedState } from 'concordat/cluster'
import { redisStateStore } from 'concordat/redis'
import type { Bed } from '../bed.ts'
import { type Distribution, distributionTable } from '../distribution.ts'
import type { SuiteOptions } from '../main.ts'
import { sharedNow, Worker } from '../processes.ts'
import { number } from '../table.ts'
import { STATE, type WatchReport, type Written } from './watched.ts'

const WATCHERS = 100
const PROCESSES = 4
const PACED = 200
const PACE_MS = 20
const FAST = 2_000
const FAST_AT_ONCE = 16

export async function measureWatch(bed: Bed, options: SuiteOptions): Promise<void> {
  await using stack = new AsyncDisposableStack()
  const prefix = `${bed.prefix}state:`
  const store = redisStateStore({ url: bed.url, prefix })
  stack.defer(() => store.close())
  const state = stack.use(createSharedState<Written>({ ...STATE, store }))
  const file = new URL('./watch-worker.ts', import.meta.url)
  const args = [bed.url, prefix, String(WATCHERS / PROCESSES)]
  const workers = Array.from({ length: PROCESSES }, () => stack.use(new Worker<WatchReport>(file, args)))
  await Promise.all(workers.map((worker) => worker.report('ready')))

  options.progress(`${WATCHERS} watchers, a change every ${PACE_MS} ms`)
  const paced = await written(workers, PACED, () => pacedWrites(state))
  options.progress(`${WATCHERS} watchers, ${FAST} changes as fast as they go`)
  const fast = await written(workers, FAST, () => fastWrites(state))

  const perSecond = number(FAST / ((fast.endedAt - fast.startedAt) / 1_000))
  const distributions: Distribution[] = [
    { what: `a change every ${PACE_MS} ms`, samplesMs: paced.delaysMs },
    { what: `${FAST} changes at once: ${perSecond} changes/s at every watcher`, samplesMs: fast.delaysMs },
  ]
  const title = `shared state, from before the write to each of ${WATCHERS} watchers in ${PROCESSES} processes`
  options.report(distributionTable(title, distributions))
}

async function pacedWrites(state: SharedState<Written>): Promise<void> {
  for (let n = 1; n <= PACED; n++) {
    await state.put(`paced-${n % 10}`, { at: sharedNow(), last: n === PACED })
    await sleep(PACE_MS)
  }
}

async function fastWrites(state: SharedState<Written>): Promise<void> {
  let n = 1
  const writer = async (slot: number): Promise<void> => {
    while (n < FAST) {
      n++
      await state.put(`fast-${slot}`, { at: sharedNow(), last: false })
    }
  }
  await Promise.all(Array.from({ length: FAST_AT_ONCE }, (_, slot) => writer(slot)))
  await state.put('fast-last', { at: sharedNow(), last: true })
}

async function written(workers: readonly Worker<WatchReport>[], changes: number, write: () => Promise<void>) {
  const done = workers.map((worker) => worker.report('done'))
  const startedAt = sharedNow()
  await write()
  const reports = await Promise.all(done)
  const delaysMs = reports.flatMap((report) => report.delaysMs ?? [])
  if (delaysMs.length !== changes * WATCHERS) {
    throw new Error(`${WATCHERS} watchers got ${delaysMs.length} changes, ${changes * WATCHERS} were to come`)
  }
  return { delaysMs, startedAt, endedAt: Math.max(...reports.map((report) => report.endedAt ?? Number.NaN)) }
}
