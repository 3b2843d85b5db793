/** Signals for waiting sagas: `coordinator.signal`, and messages of channels. */

import { type SinkBinding } from '../../binder/bindings/declarations.ts'
import { sink } from '../../binder/bindings/sink-processor-source.ts'
import type { EncodedMessage } from '../../binder/channel/message.ts'
import { decodePayload } from '../../binder/channel/message-codec.ts'
import { SECOND } from '../../core/clock.ts'
import { hasCode } from '../../core/errors.ts'
import { within } from '../../core/time-limit.ts'
import { writeFault } from '../../core/write-fault.ts'
import type { MissingSaga } from '../definition/kinds/kind.ts'
import type { Saga } from '../definition/saga-definition-types.ts'
import { type CorrelatedStep, correlated, type MessageStep, messageSteps } from '../definition/saga-destinations.ts'
import { isSagaId } from '../definition/saga-id.ts'
import { SagaError } from '../errors.ts'
import { stored } from '../json.ts'
import { isEnded } from '../machine/state.ts'
import type { SagaKey, SagaSignal } from '../store/store-types.ts'
import type { EventApplier } from './event-applier.ts'
import { appliedWithinLease } from './lease-length-timeout.ts'
import { REPLY_CONCURRENCY } from './options.ts'
import { signalEvent } from './outcome-to-event.ts'
import type { CoordinatorRuntime } from './runtime.ts'
import { UnloadedVersionMessages } from './unloaded-version-messages.ts'

/**
 * Delivers a signal whose saga is not in this shard's database. Resolves with false when the saga does not wait for the signal, or
 * another shard delivers it. @param context of the message, if it was not stored before @throws `saga.not_found` when no shard has
 * the saga
 */
export type HandOn = (key: SagaKey, signal: SagaSignal, context: object | undefined) => Promise<boolean>

/** A message that may be a signal. */
interface SignalMessage {
  readonly channel: string
  readonly payload: unknown
  /** Context of its handler; `undefined` for a message that was stored for a version. */
  readonly context?: object
}

/** The durable group in which the coordinators of a service share the messages that are signals. */
export const signalGroup = (service: string): string => `${service}.sagas`

/** Attempts for a message: about a minute of database outage, as for a reply. */
const ATTEMPTS = 13
const BACKOFF = { initialMs: 100, factor: 2, maxMs: 10 * SECOND }
/** How long a message that may be ignored waits for the other shards. */
const AWAY_MS = 1 * SECOND

export class Signals {
  readonly #runtime: CoordinatorRuntime
  readonly #applier: EventApplier
  readonly #handOn: HandOn | undefined
  /** Steps for which a message found no saga. */
  readonly #missed = new Set<string>()

  readonly unloaded: UnloadedVersionMessages

  /** @param handOn set by a sharded coordinator */
  constructor(runtime: CoordinatorRuntime, applier: EventApplier, handOn: HandOn | undefined) {
    this.#runtime = runtime
    this.#applier = applier
    this.#handOn = handOn
    this.unloaded = new UnloadedVersionMessages(runtime, (...message) => this.#take(...message))
  }

  /** A sink for each channel whose messages are signals. */
  sinks(): readonly SinkBinding[] {
    const { service, sagas } = this.#runtime
    const channels = new Map(sagas.flatMap(messageSteps).map(({ from: { channel } }) => [channel.name, channel]))
    const options = {
      group: signalGroup(service),
      concurrency: REPLY_CONCURRENCY,
      maxAttempts: ATTEMPTS,
      backoff: BACKOFF,
    }
    return [...channels.values()].map((channel) =>
      sink(channel, options, (payload: unknown, context) => this.#message({ channel: channel.name, payload, context })),
    )
  }

  /**
   * Passes a signal to a saga, whichever instance drives it. False: the saga waits for it neither now nor later. A saga that is
   * started at the same time receives it, or is not found: the existence of a row does not prove that the saga has ended.
   * @throws `saga.not_found`, SchemaError
   */
  async send(key: SagaKey, signal: SagaSignal): Promise<boolean> {
    const { loader, store, sql } = this.#runtime
    const { channel } = signal
    for (;;) {
      const known = await this.#applier.find(key)
      if (known !== undefined) {
        if (channel !== undefined && !reads(known.saga, signal.signal, channel)) return false
        const applied = await this.#applier.apply(key, await signalEvent(known.saga, signal))
        if (applied !== undefined) return applied.heard
      }
      const row = await loader.unfound(key)
      if (row === undefined) throw new SagaError('saga.not_found', { saga: key.name, id: key.id })
      if (row === 'started') continue
      if (isEnded(row.state.status)) return false
      if (channel !== undefined || !(await store.hasSignal(sql, row, signal.signal))) return false
      if (await store.post(sql, key, signal)) return true
    }
  }

  /**
   * Passes the signal in a message from another shard to a saga in this database. This shard may have read the message before the
   * saga was started, so it is stored here for versions that this process has not loaded. @throws the errors of `send`
   */
  async receive(key: SagaKey, signal: SagaSignal, context: object | undefined): Promise<boolean> {
    const isHeard = await this.send(key, signal)
    if (!isHeard && signal.channel !== undefined && context !== undefined)
      await this.unloaded.leave(signal.channel, context)
    return isHeard
  }

  /** Passes the signal in a message to its saga, on any shard. @throws the errors of `send` */
  async #deliver(
    key: SagaKey,
    signal: SagaSignal,
    missing: MissingSaga,
    context: object | undefined,
  ): Promise<boolean> {
    try {
      return await this.send(key, signal)
    } catch (error) {
      if (this.#handOn === undefined || !hasCode(error, 'saga.not_found')) throw error
      const handedOn = this.#handOn(key, signal, context)
      return missing === 'ignore' ? this.#unlessAway(handedOn) : handedOn
    }
  }

  /**
   * Gives up on a shard that does not answer. It reads the message itself, so without this limit its outage would only delay the
   * signals that this shard reads behind the message.
   */
  async #unlessAway(handedOn: Promise<boolean>): Promise<boolean> {
    try {
      return await within(this.#runtime.clock, AWAY_MS, handedOn, false)
    } catch (error) {
      const fault = writeFault(error)
      if (fault === 'unavailable' || fault === 'operator') return false
      throw error
    }
  }

  /**
   * Handles a message. For a message without a saga the option `missing` of its step decides; a message that its saga does not
   * wait for is settled.
   */
  async #message(message: SignalMessage & { readonly context: object }): Promise<void> {
    const { channel, context } = message
    const names = [...new Set(this.#runtime.sagas.map((saga) => saga.name))]
    const stepsOf = (name: string) => this.#runtime.sagas.filter((saga) => saga.name === name).flatMap(messageSteps)
    // If one step fails, the others still receive the message. On a repetition they ignore it.
    const told = await Promise.all(names.map((name) => this.#tell(name, stepsOf(name), message)))
    const reasons = told.flat()
    // Not earlier: the version of a saga that was found is among those that the message is stored for.
    const left = appliedWithinLease(this.#runtime, `the message of ${channel}`, this.unloaded.leave(channel, context))
    await left.catch((error: unknown) => reasons.push(error))
    throwOne(reasons)
  }

  /** Passes a stored message to the steps of a version. @throws the errors of `#message` */
  async #take(saga: Saga, channel: string, message: EncodedMessage): Promise<void> {
    const steps = messageSteps(saga)
    const from = steps.find((step) => step.from.channel.name === channel)?.from
    if (from === undefined) return
    const payload: unknown = await decodePayload(from.channel, message)
    throwOne(await this.#tell(saga.name, steps, { channel, payload }))
  }

  /** @returns the reasons why these steps of a saga did not receive the signal */
  async #tell(name: string, steps: readonly MessageStep[], message: SignalMessage): Promise<readonly unknown[]> {
    const { found, thrown } = correlated(steps, message.channel, message.payload)
    const reasons = [...thrown]
    for (const step of found) {
      await this.#tellStep(name, step, message).catch((error: unknown) => reasons.push(error))
    }
    return reasons
  }

  /** @throws the errors of `#deliver` and `#missing` */
  async #tellStep(
    name: string,
    correlatedStep: CorrelatedStep,
    { channel, payload, context }: SignalMessage,
  ): Promise<void> {
    const { logger, maxPayloadBytes } = this.#runtime
    const { step, id } = correlatedStep
    const fields = { saga: name, id, step, channel }
    try {
      // Checked before the payload, which often contains the id: the database accepts neither.
      if (!isSagaId(id)) throw new SagaError('saga.not_found', { saga: name, id })
      const signal = { signal: step, payload: stored(`message of ${channel}`, payload, maxPayloadBytes), channel }
      const sent = this.#deliver({ name, id }, signal, correlatedStep.missing, context)
      const heard = await appliedWithinLease(this.#runtime, `the signal "${step}" for ${name}/${id}`, sent)
      if (!heard) logger.debug(fields, 'late or repeated signal ignored')
    } catch (error) {
      if (!hasCode(error, 'saga.not_found')) throw error
      this.#missing(name, channel, correlatedStep, error)
    }
  }

  /** @throws `error` for a dead letter; an error that the binder retries */
  #missing(saga: string, channel: string, { step, id, missing }: CorrelatedStep, error: unknown): void {
    const { logger, telemetry } = this.#runtime
    telemetry?.missing(saga, step, missing)
    const fields = { saga, id, step, channel, missing }
    const isFirst = !this.#missed.has(`${saga}/${step}`)
    this.#missed.add(`${saga}/${step}`)
    // The first one for a step is a warning, because messages without a saga may be normal.
    const level = isFirst ? 'warn' : 'info'
    logger[level](fields, 'message for a saga that does not exist')
    if (missing === 'dead-letter') throw error
    if (missing === 'retry') {
      throw new Error(`the saga ${saga}/${id} does not exist yet: the message of ${channel} is tried again`, {
        cause: error,
      })
    }
  }
}

/** Throws one of the reasons. While one of the steps may still receive the message, it is not a dead letter. */
function throwOne(reasons: readonly unknown[]): void {
  if (reasons.length > 0) throw reasons.find((reason) => !hasCode(reason, 'saga.not_found')) ?? reasons[0]
}

/**
 * Tells whether the step reads the channel: another version of the saga may have a step of the same name that waits for something
 * else.
 */
function reads(saga: Saga, name: string, channel: string): boolean {
  return messageSteps(saga).some(({ step, from }) => step === name && from.channel.name === channel)
}
