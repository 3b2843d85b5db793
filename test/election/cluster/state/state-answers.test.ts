import { ClusterError, createSharedState, type SharedState } from 'concordat/cluster'
import type { ClusterStore, CommitRequest, LogEntry } from 'concordat/extension'
import { memoryStateServer, memoryStateStore } from 'concordat/memory'
import { describe, expect, it } from 'vitest'
import type { CommitReply } from '../../../support/inside/election.ts'
import { drain, FakeClock } from '../../../support/locks/fake-clock.ts'

/**
 * Faults of one request:
 * - `refused`: not sent, and the caller knows.
 * - `request lost`: never executed; the caller gets no answer.
 * - `reply lost`: executed; the caller gets no answer.
 * - `late`: the caller gave up; executed after the next attempt. `very late`: after everything is over.
 */
const FAULTS = ['refused', 'request lost', 'reply lost', 'late', 'very late'] as const
type Fault = (typeof FAULTS)[number]

const ANSWER_MS = 100
const LATE_MS: Readonly<Record<'late' | 'very late', number>> = { late: 150, 'very late': 20_000 }

/** Store whose commits fail at the given steps, counted over all commits. */
function faultyStore(
  inner: ClusterStore,
  clock: FakeClock,
  plan: ReadonlyMap<number, Fault>,
  steps: { count: number },
) {
  const noAnswer = async (): Promise<never> => {
    await clock.sleep(ANSWER_MS)
    throw new ClusterError('cluster.store_unavailable', { store: 'faulty', outcome: 'unknown', detail: 'no answer' })
  }
  const commit = async (request: CommitRequest): Promise<CommitReply> => {
    const fault = plan.get(steps.count++)
    if (fault === 'refused')
      throw new ClusterError('cluster.store_unavailable', { store: 'faulty', outcome: 'not_done', detail: 'refused' })
    if (fault === 'request lost') return noAnswer()
    if (fault === 'late' || fault === 'very late') {
      clock.setTimer(LATE_MS[fault], () => void inner.commit(request).catch(() => {}))
      return noAnswer()
    }
    const reply = await inner.commit(request)
    return fault === 'reply lost' ? noAnswer() : reply
  }
  return new Proxy(inner, {
    get: (target, name: keyof ClusterStore) => {
      if (name === 'commit') return commit
      const value = target[name]
      return typeof value === 'function' ? (value as (...args: never[]) => unknown).bind(target) : value
    },
  })
}

interface Told {
  readonly value: string | undefined
  readonly outcome: number | 'conflict' | 'unknown' | 'not_done'
}

async function tell(value: string | undefined, writing: Promise<{ readonly version: number }>): Promise<Told> {
  return writing.then(
    ({ version }) => ({ value, outcome: version }),
    (error: { code: string; outcome?: 'unknown' | 'not_done' }) => {
      if (error.code === 'cluster.state_conflict') return { value, outcome: 'conflict' as const }
      if (error.outcome === undefined) throw error
      return { value, outcome: error.outcome }
    },
  )
}

/** Two clients in turn, of which the second writes between the request and the answer of the first. */
async function scenario(one: SharedState<string>, other: SharedState<string>, clock: FakeClock): Promise<Told[]> {
  const told: Told[] = []
  const first = tell('a', one.put('k', 'a', { ifVersion: 0 }))
  await clock.advance(120)
  told.push(await settled(tell('b', other.put('k', 'b', { ifVersion: 0 })), clock))
  const second = tell('c', one.put('k', 'c'))
  await clock.advance(120)
  told.push(await settled(tell('d', other.put('other', 'd')), clock))
  told.push(await settled(first, clock), await settled(second, clock))
  const { version } = await one.get('k')
  told.push(await settled(tell('e', one.put('k', 'e', { ifVersion: version })), clock))
  told.push(await settled(tell('f', other.put('k', 'f')), clock))
  // Now the condition of the first writes would be true again, for a straggler of theirs.
  told.push(await settled(tell(undefined, other.delete('k')), clock))
  return told
}

/** Lets time pass until it is decided. */
async function settled<T>(work: Promise<T>, clock: FakeClock): Promise<T> {
  let done = false
  const finished = work.finally(() => {
    done = true
  })
  for (let n = 0; !done && n < 500; n++) await clock.advance(20)
  return finished
}

async function run(plan: ReadonlyMap<number, Fault>, retryForMs: number) {
  const clock = new FakeClock()
  const server = memoryStateServer({ clock })
  const steps = { count: 0 }
  const states = [0, 1].map(() => {
    const store = faultyStore(memoryStateStore({ server }), clock, plan, steps)
    return createSharedState<string>({ store, name: 's', clock, retryForMs })
  })
  const told = await scenario(states[0] as SharedState<string>, states[1] as SharedState<string>, clock)
  // Stragglers arrive when all is over.
  await clock.advance(30_000)
  await drain()
  const reply = await memoryStateStore({ server }).changes({ cluster: 's', state: 's' }, 0, 1_000)
  if (reply.status !== 'ok') throw new Error(reply.status)
  for (const state of states) await state.close()
  return { told, log: reply.entries, steps: steps.count }
}

/** Checks that the callers' answers match the log, once no further entry can be written. */
function check(told: readonly Told[], log: readonly LogEntry[]): void {
  const versionsOf = (value: string | undefined): number[] =>
    log
      .filter(({ changes }) => changes.some((change) => 'json' in change && change.json === JSON.stringify(value)))
      .map(({ revision }) => revision)
  for (const { value, outcome } of told) {
    if (value === undefined) continue
    const versions = versionsOf(value)
    if (typeof outcome === 'number') expect(versions, `${value} was told to be done`).toEqual([outcome])
    else if (outcome === 'unknown') expect(versions.length, `${value} is unknown`).toBeLessThanOrEqual(1)
    else expect(versions, `${value} was told to be ${outcome}`).toEqual([])
  }
}

describe('every report about a write is true permanently', () => {
  it('without a fault', async () => {
    const { told, log, steps } = await run(new Map(), 5_000)
    check(told, log)
    expect(told.filter(({ outcome }) => typeof outcome === 'number')).toHaveLength(6)
    expect(told.filter(({ outcome }) => outcome === 'conflict')).toEqual([{ value: 'b', outcome: 'conflict' }])
    expect(steps).toBe(7)
  })

  it.for(FAULTS)('with one fault at any step: %s', async (fault) => {
    const { steps } = await run(new Map(), 5_000)
    for (const retryForMs of [0, 5_000]) {
      for (let step = 0; step < steps; step++) {
        const { told, log } = await run(new Map([[step, fault]]), retryForMs)
        check(told, log)
        const unsure = told.filter(({ outcome }) => outcome === 'unknown' || outcome === 'not_done')
        expect(unsure.length).toBe(retryForMs === 0 ? 1 : 0)
      }
    }
  })

  it('with two faults at any steps, stragglers of both included', { timeout: 120_000 }, async () => {
    let runs = 0
    for (const one of FAULTS) {
      for (const two of FAULTS) {
        for (let i = 0; i < 8; i++) {
          for (let j = i + 1; j < 9; j++) {
            const { told, log } = await run(
              new Map([
                [i, one],
                [j, two],
              ]),
              5_000,
            )
            check(told, log)
            runs += 1
          }
        }
      }
    }
    expect(runs).toBe(900)
  })
})
