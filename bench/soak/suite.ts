/** Half of the machine's capacity, for minutes: does the heap stay flat? */
import { setTimeout as sleep } from 'node:timers/promises'
import { type Binder, createBinder, defineChannel, sink } from 'concordat/binder'
import { kafkaTransport } from 'concordat/binder/kafka'
import { rabbitTransport } from 'concordat/binder/rabbitmq'
import type { Transport } from 'concordat/extension'
import { memoryTransport } from 'concordat/memory'
import { Kafka, logLevel } from 'kafkajs'
import { z } from 'zod'
import { newId } from '../inside.ts'
import type { SuiteOptions } from '../main.ts'
import { wantedParts } from '../parts.ts'
import { provideServer } from '../servers.ts'
import { number } from '../table.ts'
import { verdict } from '../target.ts'

const PARTS = ['memory', 'rabbitmq', 'kafka'] as const
const BATCH = 100
const PAYLOAD = z.object({ account: z.string(), text: z.string() })
/** About 200 bytes each, over 100 keys. */
const MESSAGES = Array.from({ length: BATCH }, (_, n) => ({ account: `account-${n}`, text: 'x'.repeat(160) }))
/** Limit on messages in flight. */
const IN_FLIGHT = 5_000
const PROBE_MS = 5_000
const EVERY_MS = 10_000
const LOAD = 0.5
/** Share of the run before the slope is taken: caches and pools fill first. */
const WARM_UP_SHARE = 0.2
const TARGET_MB_PER_MINUTE = 0.1
/** Fewest points for a verdict: with fewer the slope is mostly chance. */
const JUDGED_POINTS = 30

/** A point of the curve, measured after a garbage collection. */
interface Point {
  readonly seconds: number
  readonly heapMb: number
  readonly rssMb: number
  readonly handled: number
}

export async function soakSuite(options: SuiteOptions): Promise<void> {
  const wanted = wantedParts(options.only, PARTS)
  for (const part of PARTS) {
    if (!wanted(part)) continue
    await using stack = new AsyncDisposableStack()
    const transport = await transportOf(part, stack)
    if ('missing' in transport) options.skip(transport.missing)
    else await soak(part, transport, options)
  }
}

async function transportOf(
  part: (typeof PARTS)[number],
  stack: AsyncDisposableStack,
): Promise<Transport | { readonly missing: string }> {
  if (part === 'memory') return memoryTransport()
  const server = await provideServer(part, stack)
  if ('missing' in server) return server
  if (part === 'rabbitmq') return rabbitTransport({ url: server.address })
  const brokers = server.address.split(',')
  return kafkaTransport({ kafka: new Kafka({ brokers, clientId: 'soak', logLevel: logLevel.NOTHING }) })
}

async function soak(part: string, transport: Transport, options: SuiteOptions): Promise<void> {
  const flow = new Flow(transport)
  await using binder = flow.binder
  await binder.start()
  const perSecond = (await flow.send(PROBE_MS, Number.POSITIVE_INFINITY)) * LOAD
  const pace = `${number(perSecond)} messages/s`
  options.progress(`soak, ${part}: ${options.minutes} min at ${pace}, half of what it did for ${PROBE_MS / 1_000} s`)
  const points: Point[] = [await flow.point(0)]
  const startedAt = performance.now()
  const until = startedAt + options.minutes * 60_000
  while (performance.now() < until) {
    await flow.send(Math.min(EVERY_MS, until - performance.now()), perSecond)
    points.push(await flow.point((performance.now() - startedAt) / 1_000))
  }
  report(part, pace, points, options)
}

/** Messages through one binder to itself. */
class Flow {
  readonly binder: Binder
  readonly #channel = defineChannel(`soak-${newId()}`, {
    payload: PAYLOAD,
    key: ({ account }) => account,
    partitions: 4,
    groups: ['bench'],
  })
  #sent = 0
  #handled = 0

  constructor(transport: Transport) {
    const handling = sink(this.#channel, { group: 'bench', concurrency: 8 }, () => void this.#handled++)
    this.binder = createBinder({ service: 'soak', transport, bindings: [handling], sends: [this.#channel] })
  }

  /** Sends for `ms` at this pace. @returns messages handled per second */
  async send(ms: number, perSecond: number): Promise<number> {
    const [startedAt, sent, handled] = [performance.now(), this.#sent, this.#handled]
    for (;;) {
      const elapsed = performance.now() - startedAt
      if (elapsed >= ms) return ((this.#handled - handled) / elapsed) * 1_000
      const due = sent + (perSecond * elapsed) / 1_000
      if (this.#sent - this.#handled >= IN_FLIGHT || this.#sent + BATCH > due) await sleep(1)
      else await this.#sendBatch()
    }
  }

  async #sendBatch(): Promise<void> {
    this.#sent += BATCH
    await this.binder.sendBatch(this.#channel, MESSAGES)
  }

  /** Takes a point once all sent messages are handled. */
  async point(seconds: number): Promise<Point> {
    while (this.#handled < this.#sent) await sleep(5)
    for (let i = 0; i < 3; i++) {
      globalThis.gc?.()
      await sleep(1)
    }
    const { heapUsed, rss } = process.memoryUsage()
    return { seconds, heapMb: heapUsed / 1e6, rssMb: rss / 1e6, handled: this.#handled }
  }
}

function report(part: string, pace: string, points: readonly Point[], options: SuiteOptions): void {
  options.report({
    title: `soak: ${part}, ${pace}, the heap after a collection`,
    head: ['after s', 'handled', 'heap MB', 'RSS MB'],
    rows: points.map(({ seconds, handled, heapMb, rssMb }) => [
      String(Math.round(seconds)),
      handled.toLocaleString('en'),
      heapMb.toFixed(2),
      rssMb.toFixed(0),
    ]),
  })
  const later = points.filter(({ seconds }) => seconds >= options.minutes * 60 * WARM_UP_SHARE)
  const slope = slopeOf(later.map(({ seconds, heapMb }) => [seconds / 60, heapMb]))
  const tooShort = `too short to tell: ${JUDGED_POINTS} points or more`
  const held =
    later.length < JUDGED_POINTS ? tooShort : verdict(slope, { atMost: TARGET_MB_PER_MINUTE }, ' MB a minute')
  options.report({
    title: `soak: ${part}, slope of the heap without the first ${WARM_UP_SHARE * 100} %`,
    head: ['points', 'MB a minute', 'target'],
    rows: [[String(later.length), slope.toFixed(3), held]],
  })
}

/** Slope of the least-squares line. */
function slopeOf(points: readonly (readonly [x: number, y: number])[]): number {
  const mean = (of: (point: readonly [number, number]) => number): number =>
    points.reduce((sum, point) => sum + of(point), 0) / points.length
  const [meanX, meanY] = [mean(([x]) => x), mean(([, y]) => y)]
  return mean(([x, y]) => (x - meanX) * (y - meanY)) / mean(([x]) => (x - meanX) ** 2)
}
