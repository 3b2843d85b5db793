/** Measures the time without a leader after a leader ends. Real processes, ended by real signals. */
import { setTimeout as sleep } from 'node:timers/promises'
import { createObserver } from 'concordat/election'
import { redisLocks } from 'concordat/redis'
import type { Bed } from '../bed.ts'
import { type Distribution, distributionTable } from '../distribution.ts'
import type { SuiteOptions } from '../main.ts'
import { sharedNow, Worker } from '../processes.ts'
import type { CandidateReport } from './candidate.ts'

const TRIALS = 50
/** Candidates of one batch; they are started before it, so that no start falls into a trial. */
const BATCH = 6
const TTL_MS = 1_000
const OBSERVER_POLL_MS = 20

interface Ending {
  readonly signal: 'SIGTERM' | 'SIGKILL'
  readonly what: string
  readonly atMostMs: number
}

const ENDINGS: readonly Ending[] = [
  { signal: 'SIGTERM', what: 'graceful: SIGTERM sent, until the next leader is granted its term', atMostMs: 50 },
  { signal: 'SIGKILL', what: `crash: SIGKILL sent, ttl ${TTL_MS} ms, until the same`, atMostMs: TTL_MS + 100 },
]

export async function measureFailover(bed: Bed, options: SuiteOptions): Promise<void> {
  const distributions: Distribution[] = []
  const seenMs: number[] = []
  for (const ending of ENDINGS) {
    const samplesMs: number[] = []
    while (samplesMs.length < TRIALS) {
      options.progress(`${ending.signal}: ${samplesMs.length} of ${TRIALS} trials`)
      const trials = Math.min(BATCH - 1, TRIALS - samplesMs.length)
      const batch = await oneBatch(bed, ending, trials)
      samplesMs.push(...batch.gapsMs)
      seenMs.push(...batch.seenMs)
    }
    distributions.push({ what: ending.what, samplesMs, target: { quantile: 1, atMostMs: ending.atMostMs } })
  }
  distributions.push({ what: `an observer that looks every ${OBSERVER_POLL_MS} ms has seen it`, samplesMs: seenMs })
  options.report(distributionTable(`failover, ${TRIALS} trials each, a process per candidate`, distributions))
}

interface Leads {
  readonly worker: Worker<CandidateReport>
  readonly at: number
  readonly term: number
}

async function oneBatch(bed: Bed, { signal }: Ending, trials: number) {
  const role = `failover-${Math.random().toString(36).slice(2)}`
  const prefix = `${bed.prefix}election:`
  await using stack = new AsyncDisposableStack()
  const locks = stack.use(redisLocks({ url: bed.url, prefix }))
  const observer = stack.use(createObserver({ locks, role, pollMs: OBSERVER_POLL_MS }))
  const seenAt = new Map<number | undefined, number>()
  observer.subscribe(({ term }) => void (seenAt.has(term) || seenAt.set(term, sharedNow())))
  observer.start()
  const file = new URL('./candidate.ts', import.meta.url)
  const make = () => stack.use(new Worker<CandidateReport>(file, [bed.url, prefix, role, String(TTL_MS)]))
  const workers = Array.from({ length: trials + 1 }, make)
  await Promise.all(workers.map((worker) => worker.report('ready')))
  const candidates = new Map(workers.map((worker) => [worker, granted(worker)]))
  for (const worker of workers) worker.tell({})
  let leader = await Promise.race(candidates.values())
  const gapsMs: number[] = []
  const terms = [leader]
  for (let left = trials; left > 0; left--) {
    await lined(locks, role, left)
    // Anywhere between two renewals.
    await sleep(Math.random() * (TTL_MS / 3))
    const sentAt = leader.worker.signal(signal)
    candidates.delete(leader.worker)
    const next = await Promise.race(candidates.values())
    if (next.term <= leader.term) throw new Error(`term ${next.term} follows ${leader.term}`)
    gapsMs.push(next.at - sentAt)
    await leader.worker.ended()
    leader = next
    terms.push(leader)
  }
  await sleep(2 * OBSERVER_POLL_MS)
  const seen = terms.slice(1).flatMap(({ term, at }) => (seenAt.has(term) ? [(seenAt.get(term) ?? 0) - at] : []))
  return { gapsMs, seenMs: seen.map((ms) => Math.max(0, ms)) }
}

/** Resolves when it leads; never, if it does not. */
async function granted(worker: Worker<CandidateReport>): Promise<Leads> {
  const { at, term = Number.NaN } = await worker.report('granted')
  return { worker, at, term }
}

/** Waits until this number of candidates is queued behind the leader. */
async function lined(locks: ReturnType<typeof redisLocks>, role: string, waiters: number): Promise<void> {
  for (;;) {
    const info = await locks.inspect(`election/${role}`)
    if (info?.waiters.length === waiters) return
    await sleep(10)
  }
}
