/** Contract of a fault, and the frames that several of them share. */
import { serverClockLack } from '../../support/servers/index.ts'
import type { Link } from '../harness/link.ts'
import { COMES_WITHIN_MS } from './sizes.ts'
import type { Stage, Worker } from './stage.ts'

/** A kind of fault of a server, of its users, or of the network between them. */
export interface StoreFault {
  readonly name: string
  readonly what: string
  /** Settings of its server. */
  readonly settings?: Readonly<Record<string, string>>
  readonly needs?: 'a replica' | 'a clock of its own'
  /**
   * No lease survives it: the store grants the lock again while a holder relies on it. Then only the fence is judged, and
   * overlaps are counted.
   */
  readonly breaksBelief?: true
  /** The lease keeps its promise, and still only the fence can refuse late writes. */
  readonly needsFence?: true
  /** Connections survive, so no worker may be overtaken and no wake-up may be lost, not even during the fault. */
  readonly keepsOrder?: true
  act(stage: Stage): Promise<Bite>
}

/** Reason when this machine cannot play these faults. */
export function lackFor(names: readonly string[], faults: readonly StoreFault[]): string | undefined {
  const clocked = faults.filter(({ name, needs }) => needs === 'a clock of its own' && names.includes(name))
  const lack = clocked.length === 0 ? undefined : serverClockLack()
  return lack && `${clocked.map(({ name }) => name).join(', ')}: ${lack}, or leave them out with --only`
}

export interface Bite {
  /** Evidence that it happened; `undefined` when there is none. */
  readonly happened: string | undefined
  /** Time on the history's clock at which everything worked again. */
  readonly healedAt: number
}

export async function killed(stage: Stage, victim: Worker): Promise<number> {
  stage.note('killed', victim.name)
  await victim.kill()
  return stage.note('healed', `${victim.name} is dead`)
}

export async function restarted(stage: Stage): Promise<void> {
  stage.note('fault', 'the server is killed')
  await stage.server.kill()
  await stage.pause(stage.random.between(50, 500))
  await stage.server.start()
  stage.note('fault', 'the server is started')
}

export function bitten(stage: Stage, before: number): string | undefined {
  const now = stage.bitten - before
  return now > 0 ? `${now} bytes and connections met it` : undefined
}

/**
 * Frame of most faults: a holder is put out of action (`act`), another takes over and stays in its section, the first
 * acts again, and the successor continues until the first one has released.
 */
export async function overtaken(
  stage: Stage,
  act: (victim: Worker, successor: () => Promise<Worker>, refused: Promise<unknown>) => Promise<number>,
  shows: 'the fence refuses' | 'it is refused or notices' = 'the fence refuses',
): Promise<Bite> {
  const victim = await stage.lingerer()
  const others = stage.others(victim)
  await stage.untilWaiting(1, others)
  const outcomes: string[] = []
  const unwatch = victim.watch(({ op, type, outcome }) => {
    if (shows !== 'the fence refuses' && (op === 'assertValid refused' || op === 'lost')) outcomes.push(op)
    if (op === 'write' && type === 'fail' && outcome === 'refused') outcomes.push('the fence refused a late write')
  })
  const leaves = victim.next(
    'is refused, or notices',
    ({ op, type }) => op === 'release' && type === 'invoke',
    COMES_WITHIN_MS,
  )
  leaves.catch(() => {})
  const released = victim.next('has released', ({ op, type }) => op === 'release' && type !== 'invoke', COMES_WITHIN_MS)
  released.catch(() => {})
  const healedAt = await act(victim, () => stage.successor(others), leaves)
  await released
  // Time for a third to get in, if the release of the late one let it.
  await stage.pause(200)
  unwatch()
  stage.all({ do: 'leave' })
  return { happened: outcomes.length > 0 ? `${victim.name}: ${outcomes.join(', ')}` : undefined, healedAt }
}

/** The holder cannot reach Redis until after another took over. */
export async function cutOff(stage: Stage, cut: (link: Link) => void): Promise<Bite> {
  const victim = await stage.lingerer()
  const link = stage.link(victim)
  const others = stage.others(victim)
  await stage.untilWaiting(1, others)
  stage.note('fault', `${victim.name} is cut off`)
  cut(link)
  const [also] = stage.random.chance(0.3) ? others : []
  if (also !== undefined) cut(stage.link(also))
  await stage.successor(others.filter((each) => each !== also))
  stage.all({ do: 'leave' })
  await stage.pause(stage.ttls(0, 0.8))
  const { bitten: bytes } = link
  for (const each of stage.links) each.heal()
  const happened = bytes > 0 ? `${bytes} bytes and connections met it, another took over` : undefined
  return { happened, healedAt: stage.note('healed', 'all reach the server again') }
}
