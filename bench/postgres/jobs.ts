import { setTimeout as pause } from 'node:timers/promises'
import { Arrivals } from '../arrivals.ts'
import { timed } from '../compare.ts'
import { loadPeer, providePeer } from '../peers.ts'
import { atOnce, calls, type Payload, type Side, TAKEN } from './sides.ts'

const BOSS = { 'pg-boss': '12.38.0' } as const
const GRAPHILE = { 'graphile-worker': '0.18.0' } as const

interface Boss {
  on(event: 'error', listener: (error: unknown) => void): void
  start(): Promise<unknown>
  stop(options: object): Promise<unknown>
  createQueue(name: string): Promise<unknown>
  send(name: string, data: object): Promise<unknown>
  insert(name: string, jobs: ReadonlyArray<{ data: object }>): Promise<unknown>
  fetch(name: string, options: { batchSize: number }): Promise<ReadonlyArray<{ id: string }>>
  complete(name: string, ids: readonly string[]): Promise<unknown>
}

/** pg-boss: `insert`, `send`, and `fetch` with `complete` in a loop that never waits for a poll. */
export async function openBoss(connectionString: string, progress: (what: string) => void): Promise<Side> {
  const loaded = loadPeer<{ default?: new (options: object) => Boss; PgBoss?: new (options: object) => Boss }>(
    await providePeer('pg-boss', BOSS, progress),
    'pg-boss',
  )
  const PgBoss = (loaded.PgBoss ?? loaded.default ?? loaded) as new (options: object) => Boss
  const boss = new PgBoss({ connectionString, max: 10, supervise: false, schedule: false })
  boss.on('error', () => {})
  await boss.start()
  await boss.createQueue('bench')
  return {
    name: `pg-boss ${BOSS['pg-boss']}`,
    publish: (payloads) =>
      timed(payloads.length, async () => {
        for (const call of calls(payloads))
          await boss.insert(
            'bench',
            call.map((data) => ({ data })),
          )
      }),
    singly: (payloads) => timed(payloads.length, () => atOnce(payloads, (payload) => boss.send('bench', payload))),
    consume: (count) =>
      timed(count, async () => {
        for (let left = count; left > 0; ) {
          const jobs = await boss.fetch('bench', { batchSize: TAKEN })
          await boss.complete(
            'bench',
            jobs.map(({ id }) => id),
          )
          left -= jobs.length
        }
      }),
    [Symbol.asyncDispose]: async () => void (await boss.stop({ graceful: false })),
  }
}

interface Graphile {
  makeWorkerUtils(options: object): Promise<{
    migrate(): Promise<void>
    addJob(identifier: string, payload: object): Promise<unknown>
    addJobs(jobs: ReadonlyArray<{ identifier: string; payload: object }>): Promise<unknown>
    release(): Promise<void>
  }>
  run(options: object): Promise<{ stop(): Promise<void> }>
  readonly Logger: new (factory: () => () => void) => object
}

/** graphile-worker with what its documentation advises for speed: a local queue and completions in batches. */
export async function openGraphile(connectionString: string, progress: (what: string) => void): Promise<Side> {
  const graphile = loadPeer<Graphile>(await providePeer('graphile-worker', GRAPHILE, progress), 'graphile-worker')
  const logger = new graphile.Logger(() => () => {})
  const utils = await graphile.makeWorkerUtils({ connectionString, logger })
  await utils.migrate()
  const jobOf = (payload: Payload): { identifier: string; payload: object } => ({ identifier: 'bench', payload })
  return {
    name: `graphile-worker ${GRAPHILE['graphile-worker']}`,
    publish: (payloads) =>
      timed(payloads.length, async () => {
        for (const call of calls(payloads)) await utils.addJobs(call.map(jobOf))
      }),
    singly: (payloads) => timed(payloads.length, () => atOnce(payloads, (payload) => utils.addJob('bench', payload))),
    consume: async (count) => {
      const arrivals = new Arrivals(count)
      const worker = { concurrentJobs: 10, maxPoolSize: 12, localQueue: { size: TAKEN }, completeJobBatchDelay: 0 }
      const preset = { worker: { connectionString, ...worker, logger } }
      const runner = await graphile.run({ preset, noHandleSignals: true, taskList: { bench: () => arrivals.note() } })
      const measured = await arrivals.measured()
      await pause(100)
      await runner.stop()
      return measured
    },
    [Symbol.asyncDispose]: () => utils.release(),
  }
}
