/** Worker's half of a side: keeps the given number of sagas or transactions in flight for a while, on command. */
import { randomUUID } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import { endWithParent } from './processes.ts'

export interface Burst {
  /** Number in flight at any time. */
  readonly atOnce: number
  /** Time before counting begins, and time of the count; at least `atLeast` have to end in each. */
  readonly rampMs: number
  readonly countedMs: number
  readonly atLeast: number
}

export interface SideReport {
  readonly did: 'ready' | 'ran'
  readonly ran?: Ran
}

export interface Ran {
  /** Time from start to end of each saga that ended in the counted time. */
  readonly eachMs: readonly number[]
  readonly countedMs: number
  /** Sagas of the whole burst, and this process's CPU time for them. */
  readonly total: number
  readonly cpuUs: number
}

/** @param run resolves when the saga with this id has ended */
export function serve(run: (id: string) => Promise<unknown>): void {
  serveBursts((burst) => ranFor(run, burst))
}

/** @param ranFor does what a burst asks for */
export function serveBursts(ranFor: (burst: Burst) => Promise<Ran>): void {
  endWithParent()
  const report = (what: SideReport): void => void process.send?.(what)
  process.on('message', (burst: Burst) => {
    ranFor(burst).then(
      (ran) => report({ did: 'ran', ran }),
      (error: unknown) => {
        console.error(error)
        process.exit(1)
      },
    )
  })
  report({ did: 'ready' })
}

async function ranFor(run: (id: string) => Promise<unknown>, burst: Burst): Promise<Ran> {
  const ended: { readonly at: number; readonly ms: number }[] = []
  const cpu = process.cpuUsage()
  let over = false
  const slot = async (): Promise<void> => {
    while (!over) {
      const beganAt = performance.now()
      await run(randomUUID())
      const at = performance.now()
      ended.push({ at, ms: at - beganAt })
    }
  }
  const slots = Promise.all(Array.from({ length: burst.atOnce }, slot))
  const phase = async (ms: number): Promise<number> => {
    const enough = ended.length + burst.atLeast
    await Promise.race([sleep(ms), slots])
    while (ended.length < enough) await Promise.race([sleep(10), slots])
    return performance.now()
  }
  const from = await phase(burst.rampMs)
  const to = await phase(burst.countedMs)
  over = true
  await slots
  const { user, system } = process.cpuUsage(cpu)
  const eachMs = ended.flatMap(({ at, ms }) => (at > from && at <= to ? [ms] : []))
  return { eachMs, countedMs: to - from, total: ended.length, cpuUs: user + system }
}
