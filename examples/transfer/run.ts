/** Runs, kills and restarts the processes until every transfer has an outcome, then checks the money. */
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { Supervisor } from '../support/supervisor.ts'
import { type Databases, type Left } from './databases.ts'
import type { Kind, Options } from './options.ts'
import { makePlan } from './plan.ts'
import type { TransferStart } from './service-process.ts'

export interface Report {
  readonly kind: Kind
  readonly transfers: {
    readonly asked: number
    readonly completed: number
    readonly refused: number
    readonly stuck: number
  }
  readonly money: { readonly beforeCents: number; readonly afterCents: number; readonly balanced: boolean }
  readonly left: Left
  readonly restarts: number
  readonly elapsedMs: number
}

const SERVICES = ['desk', 'north', 'south'] as const
const LOOK_MS = 100
const SAY_MS = 2_000
/** Longest wait after the last outcome, because banks may still receive confirmations. */
const SETTLES_MS = 30_000

export async function run(options: Options, databases: Databases, signal: AbortSignal): Promise<Report> {
  const startedAt = performance.now()
  const plan = makePlan(options)
  await databases.fill(plan, options.kind)
  const { cents: beforeCents } = await databases.money()
  const supervisor = new Supervisor(join(import.meta.dirname, 'service-process.ts'), startsOf(options, databases))
  try {
    await supervisor.start()
    await Promise.race([untilAllEnded(options, plan.kills, databases, supervisor, signal), supervisor.failed])
    const outcomes = await databases.outcomes()
    const left = await settled(databases, outcomes.stuck)
    const { cents: afterCents, held, overdrawn } = await databases.money()
    const balanced = afterCents === beforeCents && (held === 0 || outcomes.stuck > 0) && overdrawn === 0
    return {
      kind: options.kind,
      transfers: { asked: options.transfers, ...outcomes },
      money: { beforeCents, afterCents, balanced },
      left,
      restarts: supervisor.restarts,
      elapsedMs: Math.round(performance.now() - startedAt),
    }
  } finally {
    await supervisor.stop()
  }
}

function startsOf({ kind, processes, logLevel }: Options, databases: Databases): readonly TransferStart[] {
  return SERVICES.flatMap((service) =>
    Array.from({ length: processes }, (_, index) => ({
      type: 'start' as const,
      service,
      instance: instanceOf(service, index),
      kind,
      index,
      processes,
      database: databases.url(service),
      log: databases.url('desk'),
      logLevel,
    })),
  )
}

const instanceOf = (service: string, index: number): string => `${service}-${index + 1}`

async function untilAllEnded(
  { transfers }: Options,
  kills: ReturnType<typeof makePlan>['kills'],
  databases: Databases,
  supervisor: Supervisor,
  signal: AbortSignal,
): Promise<void> {
  const due = [...kills]
  let saidAt = performance.now()
  for (;;) {
    signal.throwIfAborted()
    const { completed, refused, stuck } = await databases.outcomes()
    const ended = completed + refused + stuck
    for (let kill = due[0]; kill !== undefined && kill.at <= ended; kill = due[0]) {
      due.shift()
      await supervisor.kill(instanceOf(kill.service, kill.index))
    }
    if (performance.now() - saidAt > SAY_MS) {
      saidAt = performance.now()
      process.stderr.write(`${ended} of ${transfers} transfers ended, ${supervisor.restarts} restarts\n`)
    }
    if (ended >= transfers && due.length === 0) return
    await sleep(LOOK_MS)
  }
}

/** Waits until no work is left except stuck transfers, which need an operator. Returns the work that is left. */
async function settled(databases: Databases, stuck: number): Promise<Left> {
  const deadline = performance.now() + SETTLES_MS
  for (;;) {
    const left = await databases.left()
    const { held } = await databases.money()
    const isOver = left.open <= stuck && left.prepared + left.rowLocks === 0 && (held === 0 || stuck > 0)
    if (isOver || performance.now() > deadline) return left
    await sleep(LOOK_MS)
  }
}
