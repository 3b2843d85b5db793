/** Any order of requests, answers, reads, settlements and new assignments. */
import type { TransportDelivery } from 'concordat/extension'
import fc from 'fast-check'
import { afterEach, beforeEach, expect, it, vi } from 'vitest'
import { inputs } from '../../support/suite/night.ts'
import type { Member } from './inside.ts'
import { Recorder, range } from './kit.ts'
import type { ScriptedGroup } from './scripted-group.ts'

export const PARTITIONS = 3
export const LENGTH = 12
const PATIENCE = 400

type Plain = 'round' | 'serve' | 'fetch' | 'read' | 'wait' | 'expel' | 'elect' | 'cut' | 'pause' | 'resume'
export type Step =
  | { readonly do: Plain }
  /** Settles some of the lent deliveries, from the oldest or the newest. */
  | { readonly do: 'settle'; readonly count: number; readonly newest: boolean; readonly ok: boolean }
  | { readonly do: 'rebalance'; readonly next: readonly number[]; readonly others: number }
  | { readonly do: 'move'; readonly gone: number; readonly loading: number }

const ROUND: Step = { do: 'round' }
const WAIT: Step = { do: 'wait' }
const SERVE: Step = { do: 'serve' }
const FETCH: Step = { do: 'fetch' }
const EXPEL: Step = { do: 'expel' }
const ELECT: Step = { do: 'elect' }
const READ: Step = { do: 'read' }
const SETTLE_ALL = { do: 'settle', count: 1_000, newest: false, ok: true } as const

const rounds = (count: number): Step[] => Array.from({ length: count }, () => [ROUND, WAIT]).flat()
const settled = (count: number): Step[] => Array.from({ length: count }, () => [ROUND, WAIT, SETTLE_ALL]).flat()

const plain = (...names: Plain[]) => fc.constantFrom(...names).map((name): Step => ({ do: name }))
const settle = fc.record({
  do: fc.constant('settle' as const),
  count: fc.constantFrom(1, 2, 100),
  newest: fc.boolean(),
  ok: fc.boolean(),
})
const rebalance = fc.record({
  do: fc.constant('rebalance' as const),
  next: fc.subarray(range(PARTITIONS)),
  others: fc.nat(2),
})

const move = fc.record({ do: fc.constant('move' as const), gone: fc.nat(3), loading: fc.nat(3) })

const anything: fc.Arbitrary<Step> = fc.oneof(
  { weight: 8, arbitrary: plain('round', 'wait') },
  { weight: 4, arbitrary: plain('serve', 'read', 'fetch') },
  { weight: 3, arbitrary: settle },
  { weight: 2, arbitrary: rebalance },
  { weight: 2, arbitrary: move },
  { weight: 2, arbitrary: plain('expel', 'cut', 'pause', 'resume') },
  { weight: 1, arbitrary: plain('elect') },
)

/** A rebalance up to the join, and then each order of requests, answers and reads. */
const join: fc.Arbitrary<Step[]> = fc
  .tuple(rebalance, fc.nat(4), fc.array(plain('serve', 'read', 'wait', 'cut'), { minLength: 4, maxLength: 12 }))
  .map(([first, count, rest]) => [first, ...settled(count), ...rest])

/**
 * A join while a fetch is under way, which is answered at the end.
 * @param first `expel` or `wait`
 * @param rest steps before the answer
 */
const joinBesideFetch = (count: number, first: Step, rest: readonly Step[]): Step[] =>
  [rounds(count), [first, WAIT, SERVE, SERVE, READ, ELECT, FETCH, READ], rest, [FETCH, READ]].flat()

const lateFetch: fc.Arbitrary<Step[]> = fc
  .tuple(fc.nat(3), plain('expel', 'wait'), fc.array(plain('serve', 'read', 'wait'), { minLength: 4, maxLength: 16 }))
  .map(([count, first, rest]) => joinBesideFetch(count, first, rest))

export const steps: fc.Arbitrary<Step[]> = fc
  .array(
    fc.oneof(
      join,
      lateFetch,
      anything.map((each) => [each]),
    ),
    { maxLength: 30 },
  )
  .map((parts) => parts.flat())

/** Sequences that once stopped partitions permanently, and one that skips messages if a late batch is taken. */
export const EXAMPLES: Array<[Step[], number]> = [
  // A beat leaves behind the join; its answer, about the generation before, is read with the answer to the sync.
  [
    [
      rounds(2),
      [SETTLE_ALL, { do: 'rebalance', next: [2], others: 0 }, SETTLE_ALL, ROUND, ROUND],
      [WAIT, SERVE, READ, SERVE, SERVE, READ],
    ].flat() as Step[],
    100,
  ],
  // The join finds the coordinator loading the group, or its connection ends: the previous assignment is still valid.
  [
    [
      [{ do: 'rebalance', next: [], others: 0 }, SERVE, SERVE, SERVE, READ],
      [{ do: 'expel' }, ROUND, SERVE, { do: 'move', gone: 0, loading: 3 }],
    ].flat() as Step[],
    1,
  ],
  [
    [
      [{ do: 'rebalance', next: [], others: 0 }, ...settled(3), SERVE, SERVE, SERVE, SERVE],
      [{ do: 'rebalance', next: [1], others: 0 }, ...settled(2), { do: 'cut' }, SERVE, SERVE, SERVE, SERVE],
    ].flat() as Step[],
    1,
  ],
  // Expelled while the batch of each partition waits for room.
  [[rounds(6), [EXPEL, WAIT, SERVE, READ, WAIT, SERVE, READ]].flat(), 1],
  // Expelled while a fetch is under way, whose batch comes after the join.
  [joinBesideFetch(3, EXPEL, [SERVE, READ, WAIT, WAIT, SERVE, SERVE, READ, SERVE]), 1],
  // Both leaders move: of two joins at once the second loses its connection when the first is complete.
  [
    [
      [SERVE, SERVE, READ, ELECT, FETCH, READ, SERVE, READ],
      [ELECT, FETCH, READ, SERVE, SERVE, READ, { do: 'cut' }],
    ].flat() as Step[],
    1,
  ],
  // A fetch of the first of two joins is answered after the second, for which nothing was handed over.
  [
    [
      [SERVE, READ, SERVE, READ, SERVE, SERVE, SERVE],
      [SERVE, SERVE, SERVE, SERVE],
      [SERVE, READ, SERVE, SERVE, SERVE, READ],
    ].flatMap((rest) => joinBesideFetch(0, WAIT, rest)),
    1,
  ],
]

/** A member of a scripted group, and its running work. */
export class Play {
  readonly group: ScriptedGroup
  readonly recorder = new Recorder((delivery) => this.#begin(delivery))
  readonly #open: TransportDelivery[] = []
  readonly skipped: string[] = []
  /** Deliveries that began during a join, after which another member may have their partition. */
  readonly early: string[] = []
  readonly subscription: Member

  /** @param create over the broker of the play */
  constructor(group: ScriptedGroup, create: (recorder: Recorder) => Member) {
    this.group = group
    this.subscription = create(this.recorder)
  }

  #begin(delivery: TransportDelivery): void {
    this.#open.push(delivery)
    if (this.group.joins > 0) this.early.push(delivery.position)
    const [partition, offset] = placeOf(delivery)
    const begun = this.group.begun[partition] ?? 0
    if (offset > begun) this.skipped.push(`${delivery.position} after ${begun - 1}`)
    this.group.begun[partition] = Math.max(begun, offset + 1)
  }

  async take(each: Step): Promise<void> {
    const { group, subscription } = this
    if (each.do === 'serve' || each.do === 'round') group.serve()
    if (each.do === 'fetch' || each.do === 'round') group.serveFetch()
    if (each.do === 'read' || each.do === 'round') group.read()
    if (each.do === 'expel') group.expel()
    if (each.do === 'elect') group.elect()
    if (each.do === 'cut') group.cut()
    if (each.do === 'pause') subscription.pause()
    if (each.do === 'resume') subscription.resume()
    if (each.do === 'rebalance') group.rebalance(each.next, each.others)
    if (each.do === 'move') group.move(each.gone, each.loading)
    if (each.do === 'settle') this.#settle(each)
    await vi.advanceTimersByTimeAsync(each.do === 'wait' ? 60 : 0)
  }

  #settle({ count, newest, ok }: Extract<Step, { readonly do: 'settle' }>): void {
    const some = newest ? this.#open.splice(-count) : this.#open.splice(0, count)
    for (const delivery of some) {
      const [partition, offset] = placeOf(delivery)
      // Without effect once it is withdrawn.
      if (ok && !delivery.signal.aborted) this.group.settled[partition]?.add(offset)
      if (ok) delivery.ack()
      else delivery.release()
    }
  }

  /** Number of messages of the partition that no member has settled. */
  unsettled(partition: number): number {
    const { ends, settled } = this.group
    return (ends[partition] ?? 0) - (settled[partition]?.size ?? 0)
  }

  /** Answers and settles everything from now on. */
  async calm(isOver: () => boolean): Promise<void> {
    for (let round = 0; round < PATIENCE && !isOver(); round++) {
      for (const each of [ROUND, WAIT, SETTLE_ALL]) await this.take(each)
    }
  }

  get isDone(): boolean {
    const { group } = this
    return group.settledOn?.every((partition) => group.committed[partition] === group.ends[partition]) === true
  }
}

/** Partition and offset. */
function placeOf({ position }: TransportDelivery): readonly [number, number] {
  const [partition = 0, offset = 0] = position.match(/\d+/g)?.map(Number) ?? []
  return [partition, offset]
}

/** Declares the test, with its clock. @param begin a play with that prefetch */
export function playsRebalances(title: string, begin: (prefetch: number) => Play): void {
  beforeEach(() => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'setInterval', 'clearInterval', 'Date', 'performance'] })
    vi.spyOn(Math, 'random').mockReturnValue(0.5)
  })
  afterEach(() => {
    vi.useRealTimers()
    vi.restoreAllMocks()
  })
  it(
    title,
    () =>
      fc.assert(
        fc.asyncProperty(steps, fc.constantFrom(1, 2, 100), async (script, prefetch) => {
          await goThrough(begin(prefetch), script)
        }),
        { numRuns: inputs(400), examples: EXAMPLES },
      ),
    120_000,
  )
}

/**
 * While a fetcher of kafkajs asks for committed offsets, another joins the group anew and gets no partition: kafkajs crashes with a
 * TypeError. The binder makes a new subscription then, which is not part of the play.
 */
function isCrash({ recorder }: Play): boolean {
  return recorder.losses.some((error) => {
    let origin: Error = error
    while (origin.cause instanceof Error) origin = origin.cause
    return origin instanceof TypeError && origin.stack?.includes('kafkajs/src/consumer/consumerGroup.js')
  })
}

async function goThrough(play: Play, script: readonly Step[]): Promise<void> {
  let isOpen = false
  void play.subscription.open().then(() => (isOpen = true))
  await play.calm(() => isOpen)
  for (const each of script) await play.take(each)
  play.subscription.resume()
  await play.calm(() => play.isDone || isCrash(play))
  const { skipped, early } = play
  if (isCrash(play)) return expect({ skipped, early }).toEqual({ skipped: [], early: [] })
  expect({ losses: play.recorder.losses, skipped, early }).toEqual({ losses: [], skipped: [], early: [] })
  const { settledOn, committed } = play.group
  expect(settledOn?.map((partition) => committed[partition])).toEqual(settledOn?.map(() => LENGTH))
  expect(settledOn?.map((partition) => play.unsettled(partition))).toEqual(settledOn?.map(() => 0))
  expect(settledOn).toBeDefined()
  const closing = play.subscription.close()
  let isClosed = false
  void closing.then(() => (isClosed = true))
  await play.calm(() => isClosed)
}
