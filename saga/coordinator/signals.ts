/** Signals for waiting sagas: `coordinator.signal`, and messages of channels. */

import { type SinkBinding } from '../../binder/bindings/declarations.ts'
import { sink } from '../../binder/bindings/sink-processor-source.ts'
import type { EncodedMessage } from '../../binder/channel/message.ts'
import { decodePayload } from '../../binder/channel/message-codec.ts'
import { SECOND } from '../../core/clock.ts'
import { hasCode } from '../../core/errors.ts'
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
 * another shard delivers it. @throws `saga.not_found` when no shard has the saga
 */
export type HandOn = (key: SagaKey, signal: SagaSignal) => Promise<boolean>

/** The durable group in which the coordinators of a service share the messages that are signals. */
export const signalGroup = (service: string): string => `${service}.sagas`

/** A message is tried for about a minute of database outage, like a reply. */
const ATTEMPTS = 13
const BACKOFF = { initialMs: 100, factor: 2, maxMs: 10 * SECOND }

export class Signals {
  readonly #runtime: CoordinatorRuntime
  readonly #applier: EventApplier
  readonly #handOn: HandOn | undefined
  /** Steps of which a message has found no saga. */
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
      sink(channel, options, (payload: unknown, context) => this.#message(channel.name, payload, context)),
    )
  }

  /**
   * Hands a signal to a saga, whichever instance it is with. False: the saga does not wait for it, now or later.
   * A saga that is started meanwhile hears it, or is not found: that a row is there does not say that it has ended.
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

  /** Hands a message's signal to its saga, on whichever shard that is. @throws as `send` */
  async #deliver(key: SagaKey, signal: SagaSignal): Promise<boolean> {
    try {
      return await this.send(key, signal)
    } catch (error) {
      if (this.#handOn === undefined || !hasCode(error, 'saga.not_found')) throw error
      return this.#handOn(key, signal)
    }
  }

  /** A message whose saga does not exist is what `missing` of its step says; one that its saga does not wait for is settled. */
  async #message(channel: string, payload: unknown, context: object): Promise<void> {
    const names = [...new Set(this.#runtime.sagas.map((saga) => saga.name))]
    const stepsOf = (name: string) => this.#runtime.sagas.filter((saga) => saga.name === name).flatMap(messageSteps)
    // A step that fails keeps the message from none of the others; what they have heard already they ignore the next time.
    const told = await Promise.all(names.map((name) => this.#tell(name, stepsOf(name), channel, payload)))
    const reasons = told.flat()
    // Not before: the version of a saga that was found is among those that it is left for.
    const left = appliedWithinLease(this.#runtime, `the message of ${channel}`, this.unloaded.leave(channel, context))
    await left.catch((error: unknown) => reasons.push(error))
    throwOne(reasons)
  }

  /** Tells the steps of a version of a message that was left for it. @throws as `#message` */
  async #take(saga: Saga, channel: string, message: EncodedMessage): Promise<void> {
    const steps = messageSteps(saga)
    const from = steps.find((step) => step.from.channel.name === channel)?.from
    if (from === undefined) return
    const payload: unknown = await decodePayload(from.channel, message)
    throwOne(await this.#tell(saga.name, steps, channel, payload))
  }

  /** @returns why these steps of a saga have not heard it */
  async #tell(
    name: string,
    steps: readonly MessageStep[],
    channel: string,
    payload: unknown,
  ): Promise<readonly unknown[]> {
    const { found, thrown } = correlated(steps, channel, payload)
    const reasons = [...thrown]
    for (const step of found) {
      await this.#tellStep(name, channel, step, payload).catch((error: unknown) => reasons.push(error))
    }
    return reasons
  }

  /** @throws as `#deliver`; as `#missing` */
  async #tellStep(name: string, channel: string, correlatedStep: CorrelatedStep, payload: unknown): Promise<void> {
    const { logger, maxPayloadBytes } = this.#runtime
    const { step, id } = correlatedStep
    const fields = { saga: name, id, step, channel }
    try {
      // Before the payload, which often has the id, and the database takes neither.
      if (!isSagaId(id)) throw new SagaError('saga.not_found', { saga: name, id })
      const signal = { signal: step, payload: stored(`message of ${channel}`, payload, maxPayloadBytes), channel }
      const sent = this.#deliver({ name, id }, signal)
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
    // The first one of a step is a warning: that some messages are for no saga may be as it should be.
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

/** While one of the steps may still hear the message, it is no dead letter. */
function throwOne(reasons: readonly unknown[]): void {
  if (reasons.length > 0) throw reasons.find((reason) => !hasCode(reason, 'saga.not_found')) ?? reasons[0]
}

/** Another version of the saga may have a step of the same name that waits for something else. */
function reads(saga: Saga, name: string, channel: string): boolean {
  return messageSteps(saga).some(({ step, from }) => step === name && from.channel.name === channel)
}
