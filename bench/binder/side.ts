/** The worker's half of a side: one process that publishes and consumes over a broker, by the binder or without it. */
import type { Measured } from '../compare.ts'
import { endWithParent } from '../processes.ts'

/** Input that both sides get. */
export interface Scene {
  readonly address: string
  /** Channel to publish to, and channel to read; each side has its own queues on RabbitMQ. */
  readonly publishing: string
  readonly reading: string
  readonly bytes: number
  readonly count: number
  readonly keyed: boolean
}

export const WORKS = ['publish', 'publishPlain', 'publishPadded', 'publishConstant', 'consume'] as const
export type Work = (typeof WORKS)[number]

export interface SideReport {
  readonly did: 'ready' | 'leave' | Work
  readonly measured?: Measured
}

/**
 * Work of one side. For the bare driver, `publishPlain` publishes without ids, headers and checks; `publishPadded` adds
 * as many bytes as the headers have to the payload; `publishConstant` uses headers that are made once.
 */
export interface Works extends Readonly<Partial<Record<Work, () => Promise<Measured>>>> {
  /** Deletes what the side left on the broker. */
  readonly leave: () => Promise<unknown>
}

/** Runs the commands that the parent process sends, and ends with the parent. */
export async function serveSide(open: (scene: Scene) => Promise<Works>): Promise<void> {
  endWithParent()
  const works = await open(JSON.parse(process.argv[2] ?? '') as Scene)
  const report = (what: SideReport): void => void process.send?.(what)
  process.on('message', ({ work }: Order) => {
    done(works, work).then(report, (error: unknown) => {
      console.error(error)
      process.exit(1)
    })
  })
  report({ did: 'ready' })
}

export interface Order {
  readonly work: Work | 'leave'
}

async function done(works: Works, work: Order['work']): Promise<SideReport> {
  if (work === 'leave') {
    await works.leave()
    return { did: work }
  }
  const run = works[work]
  if (run === undefined) throw new Error(`this side has no "${work}"`)
  return { did: work, measured: await run() }
}
