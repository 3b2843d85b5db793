import { createBinder } from '../binder/assembly/create-binder.ts'
import { type Binder } from '../binder/binder.ts'
import type { PollBinding } from '../binder/bindings/declarations.ts'
import type { Handler } from '../binder/bindings/handler-types.ts'
import { type Channel, requireChannel } from '../binder/channel/channel.ts'
import { deadLetterName } from '../binder/channel/dead-letter-name.ts'
import { type EncodedMessage, publicHeaders } from '../binder/channel/message.ts'
import { decodePayload, type SendOptions } from '../binder/channel/message-codec.ts'
import { retryName } from '../binder/consuming/failure/retry-destination.ts'
import { memoryBroker, memoryTransport } from '../binder/memory/transport.ts'
import { type DeadLetter, readDeadLetter } from '../binder/redrive/letter.ts'
import { type RedriveOptions, type RedriveReport } from '../binder/redrive/redrive.ts'
import { redrive } from '../binder/redrive/redrive-run.ts'
import { type Clock, SECOND } from '../core/clock.ts'
import { invalidOption, requireInteger } from '../core/errors.ts'
import { type Logger, silentLogger } from '../core/logger.ts'
import { optionNames, refuseUnknown } from '../core/option-checks.ts'
import { replyPlace } from '../saga/wire/wire.ts'
import { Activity } from './activity.ts'
import { KitClock } from './clock.ts'
import { FaultyTransport, type PublishFault } from './faulty-transport.ts'
import { shuffled } from './shuffle.ts'
import { type StoredParts, storedParts } from './test-database-parts.ts'
import type { Output, TestKit, TestKitOptions } from './test-kit.ts'
import { NO_END, Quiet, turn } from './wait-until-quiet.ts'

const NAMES = optionNames<TestKitOptions>({
  bindings: true,
  sql: true,
  service: true,
  startAt: true,
  logger: true,
  patienceMs: true,
  sends: true,
  replies: true,
  headers: true,
  middleware: true,
  batchMiddleware: true,
  telemetry: true,
})
const START = Date.UTC(2026, 0, 1)
/** Many more steps of the clock than any test needs. */
const MOST_STEPS = 100_000

/**
 * Runs declared bindings in memory, with a clock of their own and faults on demand: `const kit = await createTestKit({
 * bindings: [charge] })`. Works with any test runner.
 * @throws TypeError / RangeError naming the option, as `createBinder`
 */
export async function createTestKit(options: TestKitOptions): Promise<TestKit> {
  refuseUnknown('createTestKit', options, NAMES)
  if (!Array.isArray(options.bindings)) {
    throw invalidOption('createTestKit.bindings', options.bindings, 'an array of bindings')
  }
  const { bindings, sql, service = 'test', startAt, logger = silentLogger } = options
  const activity = new Activity()
  const clock = new KitClock(requireInteger('createTestKit.startAt', startAt ?? START, 0))
  const stored = await storedParts({ bindings, sql, service, clock, logger, activity })
  const kit = new MemoryKit(
    { ...options, service, logger, bindings: stored?.bindings ?? bindings },
    { activity, clock, stored },
  )
  await kit.start()
  return kit
}

interface KitParts {
  readonly activity: Activity
  readonly clock: KitClock
  readonly stored: StoredParts | undefined
}

class MemoryKit implements TestKit {
  readonly clock: Clock
  readonly binder: Binder
  readonly #clock: KitClock
  readonly #activity: Activity
  readonly #stored: StoredParts | undefined
  readonly #broker = memoryBroker()
  readonly #transport: FaultyTransport
  readonly #quiet: Quiet
  readonly #sent = new Set<string>()
  readonly #service: string
  readonly #logger: Logger
  #number = 0
  #isAway = false

  constructor(options: TestKitOptions & { readonly service: string; readonly logger: Logger }, parts: KitParts) {
    const { bindings, sql: _, service, startAt: __, patienceMs, logger, ...rest } = options
    this.#service = service
    this.#logger = logger
    this.#activity = parts.activity
    this.#stored = parts.stored
    this.#clock = parts.clock
    this.clock = this.#activity.watchClock(this.#clock)
    this.#quiet = new Quiet(this.#activity, requireInteger('createTestKit.patienceMs', patienceMs ?? 5 * SECOND, 1))
    this.#transport = new FaultyTransport(memoryTransport({ broker: this.#broker }), this.#activity)
    this.binder = createBinder({
      ...rest,
      service,
      instance: 'test',
      transport: this.#transport,
      clock: this.#clock,
      logger,
      bindings: bindings.map((binding) => this.#activity.watch(binding)),
      ...(parts.stored !== undefined && { unlisted: replyPlace }),
    })
  }

  async start(): Promise<void> {
    await this.binder.start()
    this.#stored?.start(this.binder)
    await this.#quiet.still()
  }

  async send<In, Out>(
    channel: Channel<In, Out>,
    payload: NoInfer<In>,
    options: SendOptions = {},
  ): Promise<{ readonly id: string }> {
    const id = options.id ?? `message-${++this.#number}`
    this.#sent.add(id)
    return this.binder.send(channel, payload, { time: this.#clock.now(), ...options, id })
  }

  async sendShuffled<In, Out>(
    channel: Channel<In, Out>,
    payloads: ReadonlyArray<NoInfer<In>>,
    seed: number,
  ): Promise<In[]> {
    requireInteger('sendShuffled.seed', seed, 0)
    const order = shuffled(payloads, (payload) => channel.key?.(payload) ?? null, seed)
    for (const payload of order) await this.send(channel, payload)
    return order
  }

  async duplicate(id: string): Promise<void> {
    const message = this.#transport.published.find((each) => each.id === id)
    if (message === undefined) throw invalidOption('duplicate.id', id, 'the id of a message that was sent')
    await this.binder.publish([message])
  }

  loseNextAck(channel: Pick<Channel, 'name'>): void {
    this.#transport.loseAck(requireName('loseNextAck', channel))
  }

  failNextPublish(channel: Pick<Channel, 'name'>, fault: PublishFault = 'refused'): void {
    if (fault !== 'refused' && fault !== 'unconfirmed') {
      throw invalidOption('failNextPublish.fault', fault, "'refused' or 'unconfirmed'")
    }
    this.#transport.failPublish(requireName('failNextPublish', channel), fault)
  }

  disconnect(): void {
    this.#isAway = true
    this.#broker.interrupt()
  }

  reconnect(): void {
    this.#isAway = false
    this.#broker.recover()
  }

  poll<Payload, Context>(
    binding: PollBinding<Payload, Context>,
    handler: Handler<NoInfer<Payload>, NoInfer<Context>, void>,
  ): Promise<boolean> {
    const watched = this.#activity.watchCall(`handler of "${binding?.input?.name}"`, handler)
    return this.#play(this.binder.poll(binding, watched, { waitMs: 1 }))
  }

  redrive<In, Out>(channel: Channel<In, Out>, group: string, options?: RedriveOptions): Promise<RedriveReport> {
    const transport = memoryTransport({ broker: this.#broker })
    const host = { service: this.#service, transport, clock: this.#clock, logger: this.#logger }
    return this.#play(redrive(host, channel as unknown as Channel, group, options))
  }

  async settled(): Promise<void> {
    for (let step = 0; step < MOST_STEPS; step++) {
      await this.#quiet.still()
      if (this.#isAway) throw new Error('not settled: the broker is away since disconnect(): call reconnect() before')
      const nextInMs = this.#clock.nextInMs
      if (nextInMs === undefined) return
      if (!this.#isUnderWay() && (await this.#stored?.hasPending()) !== true) return
      this.#clock.step(nextInMs)
    }
    throw new Error(`not settled: the clock was moved ${MOST_STEPS} times. ${NO_END}`)
  }

  async advance(durationMs: number): Promise<void> {
    requireInteger('advance.durationMs', durationMs, 0)
    const target = this.#clock.monotonic() + durationMs
    await this.#quiet.atRest()
    while (this.#clock.monotonic() < target || this.#clock.nextInMs === 0) {
      this.#clock.step(target - this.#clock.monotonic())
      await this.#quiet.atRest()
    }
  }

  outputs<In, Out>(channel: Channel<In, Out>): Promise<ReadonlyArray<Output<Out>>> {
    const { name } = requireChannel('outputs', channel as unknown as Channel)
    const own = this.#transport.published.filter(({ id, destination }) => destination === name && !this.#sent.has(id))
    return Promise.all(own.map((message) => outputOf(channel, message)))
  }

  deadLetters(channel: Pick<Channel, 'name'>, group: string): readonly DeadLetter[] {
    const name = deadLetterName(requireName('deadLetters', channel), group)
    return this.#transport.published.filter(({ destination }) => destination === name).map(readDeadLetter)
  }

  close(): Promise<void> {
    return this.#play(this.#close(), turn)
  }

  async #close(): Promise<void> {
    await this.binder.close()
    await this.#stored?.close()
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close()
  }

  /** Moves the clock until the call has ended. */
  async #play<T>(work: Promise<T>, rest: () => Promise<void> = () => this.#quiet.atRest()): Promise<T> {
    let isDone = false
    const done = work.finally(() => (isDone = true))
    done.catch(() => {})
    for (;;) {
      await rest()
      if (isDone) return done
      if (this.#clock.nextInMs !== undefined) this.#clock.step(this.#clock.nextInMs)
    }
  }

  /** True for waits that the clock ends, other than a paused binding or a poll. */
  #isUnderWay(): boolean {
    if (this.#transport.lastRetryAt > this.#clock.now()) return true
    const bindings = this.binder.bindings().filter(({ kind }) => kind !== 'source')
    // An open circuit also pauses its binding, and closes with time.
    const resting = bindings.filter(({ state, circuit }) => state === 'paused' && (circuit ?? 'closed') === 'closed')
    const keeps = new Set(
      resting.flatMap(({ channel, group }) => [`${channel}/${group}`, `${retryName(channel, group ?? '')}/${group}`]),
    )
    const isLent = [...this.#transport.lent].some(([place, count]) => count > 0 && !keeps.has(place))
    return isLent || bindings.some(({ state }) => state === 'connecting')
  }
}

async function outputOf<In, Out>(channel: Channel<In, Out>, message: EncodedMessage): Promise<Output<Out>> {
  const { id, key, headers, time } = message
  return { payload: await decodePayload(channel, message), id, key, headers: publicHeaders(headers), time }
}

function requireName(path: string, channel: Pick<Channel, 'name'>): string {
  if (typeof channel?.name === 'string') return channel.name
  throw invalidOption(`${path}.channel`, channel, 'what defineChannel returned')
}
