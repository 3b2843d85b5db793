/**
 * Pauses the payments in the middle of a run, as an operator outside of the services would: through shared state and an
 * event on the bus only.
 *
 *   N orders admitted -> pause, wait until all payments instances acknowledge -> wait until every order in flight needs
 *   a payment (5 s at most) -> resume, wait until all acknowledge
 */
import { setTimeout as pause } from 'node:timers/promises'
import { type Binder, createBinder } from 'concordat/binder'
import { type Bus, ConfigChanged, createBus } from 'concordat/bus'
import type { SharedState } from 'concordat/cluster'
import type { Logger } from 'concordat/core'
import type { Intake } from '../intake/intake.ts'
import type { Stage } from '../run/stage.ts'
import { openSettings, PAYMENTS_SWITCH, type PaymentsSwitch } from '../shared-state.ts'

/** Result of the pause; part of the report. */
export interface PaymentsPause {
  /** Number of admitted orders at the pause. */
  readonly at: number
  readonly pausedMs: number
  /** Orders that waited for their payment at the end of the pause. */
  readonly waited: number
  readonly acknowledgedBy: readonly string[]
}

/** Time without a new or ended order after which every order in flight counts as waiting. */
const QUIET_MS = 300
const MAX_PAUSE_MS = 5_000
const ANSWER_MS = 1_000
/** Time limit for all acknowledgements, long enough for the restart of a killed instance. */
const MAX_ANSWERS_MS = 30_000

export class Operator {
  readonly #at: number
  readonly #stage: Stage
  readonly #say: (line: string) => void
  readonly #settings: SharedState<PaymentsSwitch>
  #hasPaused = false

  /** @param at number of admitted orders at which the payments pause */
  constructor(at: number, stage: Stage, say: (line: string) => void) {
    this.#at = at
    this.#stage = stage
    this.#say = say
    this.#settings = openSettings(stage.cluster)
  }

  /** Maximum number of admitted orders: `at` until the payments are paused, so every run pauses at the same order. */
  mayAdmit(): number {
    return this.#hasPaused ? Number.POSITIVE_INFINITY : this.#at
  }

  /** Pauses and resumes the payments. @returns `undefined` when there were not enough orders */
  async work(intake: Intake, signal: AbortSignal): Promise<PaymentsPause | undefined> {
    const desk = await Desk.open(this.#stage, this.#settings)
    try {
      await intake.admitted(this.#at, signal)
      const { admitted } = intake.counts
      if (admitted < this.#at) {
        this.#say(
          `Payments were not paused: the run admitted ${admitted} orders, and the pause was set at ${this.#at}.`,
        )
        return undefined
      }
      return await this.#pauseAndResume(desk, intake, signal)
    } finally {
      this.#hasPaused = true
      await desk.close()
    }
  }

  async #pauseAndResume(desk: Desk, intake: Intake, signal: AbortSignal): Promise<PaymentsPause> {
    const off = await desk.turn({ paused: true }, signal)
    const pausedAt = performance.now()
    this.#say(`Payments paused at ${this.#at} orders: ${describe(off)}.`)
    try {
      this.#hasPaused = true
      intake.poke()
      await untilNothingMoves(intake, signal)
      const waited = intake.underWay
      const on = await desk.turn({ paused: false }, signal)
      const pausedMs = Math.round(performance.now() - pausedAt)
      this.#say(
        `Payments resumed after ${(pausedMs / 1_000).toFixed(1)} s: ${waited} orders had waited; ${describe(on)}.`,
      )
      return { at: this.#at, pausedMs, waited, acknowledgedBy: off.acked }
    } catch (error) {
      // The run ends during the pause. A run that resumes it must not find the payments paused.
      await desk.leaveOn()
      throw error
    }
  }

  close(): Promise<void> {
    return this.#settings.close()
  }
}

interface Answers {
  readonly acked: readonly string[]
  readonly missing: readonly string[]
  readonly tookMs: number
}

/** The operator's bus and its transport. */
class Desk {
  readonly #binder: Binder
  readonly #bus: Bus
  readonly #settings: SharedState<PaymentsSwitch>
  readonly #instances: readonly string[]
  readonly #logger: Logger

  private constructor(binder: Binder, bus: Bus, settings: SharedState<PaymentsSwitch>, stage: Stage) {
    this.#binder = binder
    this.#bus = bus
    this.#settings = settings
    this.#instances = stage.paymentInstances
    this.#logger = stage.logger
  }

  static async open(stage: Stage, settings: SharedState<PaymentsSwitch>): Promise<Desk> {
    const { logger } = stage
    // The stage lists the deployed instances, whether or not they are alive.
    const members = () => stage.paymentInstances.map((instance) => ({ service: 'payments', instance }))
    const bus = createBus({ service: 'operator', members, logger })
    const transport = await stage.openTransport()
    const binder = createBinder({ service: 'operator', transport, bindings: bus.bindings, sends: bus.channels, logger })
    await binder.start()
    await bus.start(binder)
    return new Desk(binder, bus, settings, stage)
  }

  /** Sets the switch and waits for all instances. A killed instance applies the value after its restart. */
  async turn(value: PaymentsSwitch, signal: AbortSignal): Promise<Answers> {
    const startedAt = performance.now()
    const done = new Set<string>()
    const answers = (): Answers => ({
      acked: this.#instances.filter((instance) => done.has(instance)),
      missing: this.#instances.filter((instance) => !done.has(instance)),
      tookMs: performance.now() - startedAt,
    })
    while (done.size < this.#instances.length && performance.now() - startedAt < MAX_ANSWERS_MS) {
      try {
        const { version } = await this.#settings.put(PAYMENTS_SWITCH, value, { signal })
        const change = { name: PAYMENTS_SWITCH, value, version }
        const options = { to: 'payments:**', ackTimeoutMs: ANSWER_MS, signal }
        const { acked } = await this.#bus.publish(ConfigChanged, change, options)
        for (const address of acked) done.add(address.split(':')[2] ?? address)
      } catch (error) {
        signal.throwIfAborted()
        this.#logger.warn({ err: error }, 'the payments switch was not set, retrying')
        await pause(200, undefined, { signal })
      }
    }
    return answers()
  }

  /** Tries once, for 1 s at most, to switch the payments on. */
  async leaveOn(): Promise<void> {
    const options = { signal: AbortSignal.timeout(1_000) }
    await this.#settings.put(PAYMENTS_SWITCH, { paused: false }, options).catch(() => undefined)
  }

  async close(): Promise<void> {
    await this.#bus.close()
    await this.#binder.close()
  }
}

/** Waits until every order in flight waits for its payment, or for `MAX_PAUSE_MS`. */
async function untilNothingMoves(intake: Intake, signal: AbortSignal): Promise<void> {
  const deadline = performance.now() + MAX_PAUSE_MS
  let before = ''
  while (performance.now() < deadline) {
    const { admitted, ended } = intake.counts
    const now = `${admitted} ${ended}`
    if (now === before) return
    before = now
    await pause(QUIET_MS, undefined, { signal })
  }
}

function describe({ acked, missing, tookMs }: Answers): string {
  const who = acked.length === 0 ? 'none' : acked.join(', ')
  const silent = missing.length === 0 ? '' : `, ${missing.join(', ')} did not`
  return `${who} acknowledged in ${Math.round(tookMs)} ms${silent}`
}

/** Switches the payments on, for a run that was killed during the pause. */
export async function switchOn(stage: Stage): Promise<void> {
  const settings = openSettings(stage.cluster)
  try {
    const { value } = await settings.get(PAYMENTS_SWITCH)
    if (value?.paused === true) await settings.put(PAYMENTS_SWITCH, { paused: false })
  } finally {
    await settings.close()
  }
}
