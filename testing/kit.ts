import { type Binder, createBinder } from '../binder/binder.ts'
import type { Binding } from '../binder/binding.ts'
import { type Channel, requireChannel } from '../binder/channel.ts'
import { deadLetterName } from '../binder/consuming/dead-letter.ts'
import { memoryBroker, memoryTransport } from '../binder/memory/index.ts'
import { type EncodedMessage, type Headers, publicHeaders } from '../binder/message.ts'
import { type DeadLetter, readDeadLetter } from '../binder/redrive/letter.ts'
import { decodePayload, type SendOptions } from '../binder/sending/encode.ts'
import { type Clock, SECOND } from '../core/clock.ts'
import { invalidOption, requireInteger } from '../core/errors.ts'
import type { Logger } from '../core/logger.ts'
import { optionNames, refuseUnknown } from '../core/options.ts'
import { Activity } from './activity.ts'
import { KitClock } from './clock.ts'
import { FaultyTransport, type PublishFault } from './faulty-transport.ts'
import { shuffled } from './shuffle.ts'

export interface TestKitOptions {
  /** What the service under test declares: sinks, processors, sources, as `createBinder` gets them. */
  readonly bindings: readonly Binding[]
  /** @default 'test' */
  readonly service?: string | undefined
  /** Where the clock stands at first, epoch ms. @default 2026-01-01T00:00:00Z */
  readonly startAt?: number | undefined
  /** @default silentLogger */
  readonly logger?: Logger | undefined
  /** How long `settled` waits, in real time, for a handler that does not end, in ms. @default 5 seconds */
  readonly patienceMs?: number | undefined
}

/** What a handler or source sent. */
export interface Output<Payload> {
  readonly payload: Payload
  readonly id: string
  readonly key: string | null
  readonly headers: Headers
  /** Epoch ms. */
  readonly time: number
}

export interface TestKit extends AsyncDisposable {
  /** Time stands still until `advance` or `settled` moves it. For handlers that take a clock. */
  readonly clock: Clock
  /** The binder at work, e.g. for `binding(name).pause()` and `health()`. */
  readonly binder: Binder
  /** Sends as another service would. Ids are `message-1`, `message-2`, ... unless given. Resolves when it is accepted. */
  send<In, Out>(
    channel: Channel<In, Out>,
    payload: NoInfer<In>,
    options?: SendOptions,
  ): Promise<{ readonly id: string }>
  /**
   * Sends these in another order, drawn from the seed; payloads of one key keep theirs, as on any broker.
   * @returns the order in which they were sent
   */
  sendShuffled<In, Out>(channel: Channel<In, Out>, payloads: ReadonlyArray<NoInfer<In>>, seed: number): Promise<In[]>
  /** Sends a message that was sent or put out before once more, with its id: what an at-least-once sender does. */
  duplicate(id: string): Promise<void>
  /** The next acknowledgement on this channel gets lost: the message is handled, and comes again as redelivered. */
  loseNextAck(channel: Pick<Channel, 'name'>): void
  /**
   * The next message that anybody publishes to this channel (by name: also a dead letter channel) gets no confirm.
   * `refused`: it does not arrive. `unconfirmed`: it does. @default 'refused'
   */
  failNextPublish(channel: Pick<Channel, 'name'>, fault?: PublishFault): void
  /** Every connection breaks: what is unsettled comes again. Until `reconnect`, the broker is away. */
  disconnect(): void
  reconnect(): void
  /**
   * Resolves when everything accepted was handled, dead-lettered or dropped, and every output is out. Pauses between
   * attempts, for a rate or a batch are skipped by moving the clock; polls and messages sent with a delay wait for
   * `advance`. Paused and halted bindings keep what they have.
   * @throws Error when a handler does not end within `patienceMs` of real time, naming it
   */
  settled(): Promise<void>
  /** Moves the clock: timers fire in order, and what they begin is finished before the next. */
  advance(durationMs: number): Promise<void>
  /** What handlers and sources put out on this channel so far, in order; not what `send` sent. */
  outputs<In, Out>(channel: Channel<In, Out>): Promise<ReadonlyArray<Output<Out>>>
  /** The dead letters of a group so far, in order, with what happened. */
  deadLetters(channel: Pick<Channel, 'name'>, group: string): readonly DeadLetter[]
  close(): Promise<void>
}

const NAMES = optionNames<TestKitOptions>({
  bindings: true,
  service: true,
  startAt: true,
  logger: true,
  patienceMs: true,
})
const START = Date.UTC(2026, 0, 1)
/** Many more steps of the clock than any test needs. */
const MOST_STEPS = 100_000
/** Turns of the event loop in which nothing happens, before nothing will. */
const QUIET_TURNS = 3

/**
 * Declared bindings at work in memory, with a clock of their own and faults on demand:
 * `const kit = await createTestKit({ bindings: [charge] })`. For any test runner.
 * @throws TypeError / RangeError naming the option, as `createBinder`
 */
export async function createTestKit(options: TestKitOptions): Promise<TestKit> {
  refuseUnknown('createTestKit', options, NAMES)
  if (!Array.isArray(options.bindings)) {
    throw invalidOption('createTestKit.bindings', options.bindings, 'an array of bindings')
  }
  const kit = new MemoryKit(options)
  await kit.start()
  return kit
}

class MemoryKit implements TestKit {
  readonly clock: KitClock
  readonly binder: Binder
  readonly #activity = new Activity()
  readonly #broker = memoryBroker()
  readonly #transport: FaultyTransport
  readonly #patienceMs: number
  readonly #sent = new Set<string>()
  #number = 0

  constructor(options: TestKitOptions) {
    const { bindings, service = 'test', logger } = options
    this.clock = new KitClock(requireInteger('createTestKit.startAt', options.startAt ?? START, 0))
    this.#patienceMs = requireInteger('createTestKit.patienceMs', options.patienceMs ?? 5 * SECOND, 1)
    this.#transport = new FaultyTransport(memoryTransport({ broker: this.#broker }), this.#activity)
    const watched = bindings.map((binding) => this.#activity.watch(binding))
    const { clock } = this
    this.binder = createBinder({
      service,
      instance: 'test',
      transport: this.#transport,
      clock,
      logger,
      bindings: watched,
    })
  }

  async start(): Promise<void> {
    await this.binder.start()
    await this.#still()
  }

  async send<In, Out>(
    channel: Channel<In, Out>,
    payload: NoInfer<In>,
    options: SendOptions = {},
  ): Promise<{ readonly id: string }> {
    const id = options.id ?? `message-${++this.#number}`
    this.#sent.add(id)
    return this.binder.send(channel, payload, { time: this.clock.now(), ...options, id })
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
    this.#broker.interrupt()
  }

  reconnect(): void {
    this.#broker.recover()
  }

  async settled(): Promise<void> {
    for (let step = 0; step < MOST_STEPS; step++) {
      await this.#still()
      const nextInMs = this.clock.nextInMs
      if (nextInMs === undefined || !this.#isUnderWay()) return
      this.clock.step(nextInMs)
    }
    throw new Error(`the test kit moved the clock ${MOST_STEPS} times and there is no end: does a message send itself?`)
  }

  async advance(durationMs: number): Promise<void> {
    requireInteger('advance.durationMs', durationMs, 0)
    const target = this.clock.monotonic() + durationMs
    await this.#still()
    while (this.clock.monotonic() < target || this.clock.nextInMs === 0) {
      this.clock.step(target - this.clock.monotonic())
      await this.#still()
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

  async close(): Promise<void> {
    let isClosed = false
    const closing = this.binder.close().finally(() => (isClosed = true))
    while (!isClosed) {
      await turn()
      if (!isClosed && this.clock.nextInMs !== undefined) this.clock.step(this.clock.nextInMs)
    }
    await closing
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close()
  }

  /** Until nothing happens any more at this time of the clock. */
  async #still(): Promise<void> {
    const deadline = performance.now() + this.#patienceMs
    let before = -1
    for (let quiet = 0; quiet < QUIET_TURNS; ) {
      await turn()
      const { events, running } = this.#activity
      quiet = events === before && running.length === 0 ? quiet + 1 : 0
      before = events
      if (running.length === 0 || performance.now() < deadline) continue
      throw new Error(
        `not settled, still running after ${this.#patienceMs} ms: ${running.join(', ')}. ` +
          'If it waits for the clock of the kit, start advance() without awaiting settled() before.',
      )
    }
  }

  /** Something that the clock holds up: not a paused binding, and not a poll. */
  #isUnderWay(): boolean {
    const bindings = this.binder.bindings().filter(({ kind }) => kind !== 'source')
    const resting = bindings.filter(({ state, circuit }) => state === 'paused' && circuit === undefined)
    const keeps = new Set(resting.map(({ channel, group }) => `${channel}/${group}`))
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

/** All that is ready has run when this resolves. */
function turn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve))
}
