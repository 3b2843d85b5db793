/** The rows of one broker: the binder and the bare driver in a process each, in turns. */

import type { Measured } from '../compare.ts'
import { newId } from '../inside.ts'
import type { SuiteOptions } from '../main.ts'
import { Worker } from '../processes.ts'
import type { Order, Scene, SideReport, Work } from './side.ts'
import { SIZES } from './workload.ts'

/** Shares of the rate of the bare driver doing the same work. */
const TARGETS = { publish: 0.9, consume: 0.9 }

/** A broker's workers, and what their rows are called. */
export interface BrokerSides {
  readonly broker: string
  readonly ours: URL
  readonly bare: URL
  /** Without a name for `publishPlain` that is left out. */
  readonly peers: Readonly<Record<'publish' | 'consume', string>> & { readonly publishPlain?: string }
  /** Share of the peer's rate that ours should reach; work that is not named has no target. @default 0.9 for both */
  readonly atLeast?: Readonly<Partial<Record<'publish' | 'consume', number>>>
  /** Share of the rate of payload and key alone that publishing should reach. */
  readonly ofPlain: number
  /** Messages of a turn, by the bytes of each. */
  readonly countOf: (bytes: number) => number
}

export async function measureBroker(sides: BrokerSides, address: string, options: SuiteOptions): Promise<void> {
  for (const keyed of [true, false]) {
    for (const { label, bytes } of SIZES) {
      const names = { publishing: `bench-${newId()}`, reading: `bench-${newId()}` }
      const scene: Scene = { address, ...names, bytes, count: sides.countOf(bytes), keyed }
      await measureScene(sides, scene, `${label}, ${keyed ? 'keyed' : 'no key'}`, options)
    }
  }
}

async function measureScene(sides: BrokerSides, scene: Scene, label: string, options: SuiteOptions): Promise<void> {
  await using stack = new AsyncDisposableStack()
  const { run, leave } = await startedSides(sides, scene, stack)
  const row = (work: Work, peerWork: Work, name: string, atLeast: number | undefined): Promise<void> =>
    options.measure({
      what: `${sides.broker}, ${work}, ${label}, messages/s`,
      ours: () => run('ours', work),
      peer: { name, run: () => run('bare', peerWork) },
      ratio: atLeast === undefined ? undefined : { atLeast },
    })
  const { peers, atLeast = TARGETS, ofPlain } = sides
  await row('publish', 'publish', peers.publish, atLeast.publish)
  if (scene.keyed && peers.publishPlain !== undefined) await row('publish', 'publishPlain', peers.publishPlain, ofPlain)
  await row('consume', 'consume', peers.consume, atLeast.consume)
  await leave()
}

type SideName = 'ours' | 'bare'

interface StartedSides {
  readonly pids: Readonly<Record<SideName, number>>
  readonly run: (side: SideName, work: Work) => Promise<Measured>
  readonly leave: () => Promise<void>
}

/** Starts our side first: it makes the topics and fills the one that both read. */
export async function startedSides(
  { ours, bare }: BrokerSides,
  scene: Scene,
  stack: AsyncDisposableStack,
): Promise<StartedSides> {
  const workers = { ours: stack.use(await started(ours, scene)), bare: stack.use(await started(bare, scene)) }
  return {
    pids: { ours: workers.ours.pid, bare: workers.bare.pid },
    run: (side, work) => measuredBy(workers[side], work),
    leave: async () => {
      for (const side of [workers.bare, workers.ours]) await report(side, 'leave')
    },
  }
}

async function started(file: URL, scene: Scene): Promise<Worker<SideReport>> {
  const worker = new Worker<SideReport>(file, [JSON.stringify(scene)])
  await worker.report('ready')
  return worker
}

async function measuredBy(worker: Worker<SideReport>, work: Work): Promise<Measured> {
  const { measured } = await report(worker, work)
  if (measured === undefined) throw new Error(`"${work}" measured nothing`)
  return measured
}

function report(worker: Worker<SideReport>, work: Order['work']): Promise<SideReport> {
  worker.tell({ work } satisfies Order)
  return worker.report(work)
}
