/** Answers of participants: read from the service's reply channel, or the response to a request, and applied to their sagas. */

import { type SinkBinding } from '../../binder/bindings/declarations.ts'
import { sink } from '../../binder/bindings/sink-processor-source.ts'
import { MINUTE, SECOND } from '../../core/clock.ts'
import type { Saga } from '../definition/saga-definition-types.ts'
import { commandChannels } from '../definition/saga-destinations.ts'
import { SagaError } from '../errors.ts'
import type { SagaKey } from '../store/store-types.ts'
import { type SagaReply } from '../wire/reply.ts'
import { REPLY_GROUP, sagaReplies } from '../wire/wire.ts'
import type { Applied } from './apply-event-types.ts'
import { DirectCalls } from './direct-calls.ts'
import type { EventApplier } from './event-applier.ts'
import { appliedWithinLease } from './lease-length-timeout.ts'
import type { LoadedSaga } from './loaded-saga.ts'
import { REPLY_CONCURRENCY } from './options.ts'
import { describeError, isUnreadable, replyEvent, storable } from './outcome-to-event.ts'
import type { CoordinatorRuntime } from './runtime.ts'
import { isUnwritable } from './write-fallbacks.ts'

/** A binder starts at about the time of `run`. */
const BOUND_WITHIN_MS = 10 * SECOND
const DEAF =
  "no binder reads the replies: give createBinder the coordinator's bindings, bindings: [...coordinator.bindings]"
/** A reply is tried for about a minute of database outage; after that the command is asked again anyway. */
const ATTEMPTS = 13
/** Health says for so long after the last one that replies for another database come here. */
const SAY_STRAYED_MS = 10 * MINUTE
/** A lost connection costs a saga a tenth of a second, not a whole one. */
const BACKOFF = { initialMs: 100, factor: 2, maxMs: 10 * SECOND }

export class Replies {
  readonly #runtime: CoordinatorRuntime
  readonly #applier: EventApplier
  /** Asks those that have a URL. */
  readonly direct: DirectCalls
  /** A binder has begun to read them. */
  #isBound = false
  /** Monotonic ms from which a binder should. */
  #expectedAt = Number.POSITIVE_INFINITY
  #saidDeaf = false
  /** The last reply that was for another database, and the monotonic ms until which health says so. */
  #strayed: { readonly message: string; readonly until: number } | undefined

  constructor(runtime: CoordinatorRuntime, applier: EventApplier) {
    this.#runtime = runtime
    this.#applier = applier
    this.direct = new DirectCalls(runtime, {
      take: (reply) => this.take(reply),
      giveBack: async ({ saga: name, sagaId: id, step, birth }) => {
        await applier.apply({ name, id }, { type: 'yielded', step, sent: true }, { birth })
      },
    })
  }

  sink(): SinkBinding {
    const { service } = this.#runtime
    const options = { group: REPLY_GROUP, concurrency: REPLY_CONCURRENCY, maxAttempts: ATTEMPTS, backoff: BACKOFF }
    const replies = sink(sagaReplies(service), options, (reply) => this.take(reply))
    const ready = async (): Promise<void> => void (this.#isBound = true)
    return Object.freeze({ ...replies, ready })
  }

  /** From now on commands may be sent. */
  expect(): void {
    this.#expectedAt = Math.min(this.#expectedAt, this.#runtime.clock.monotonic())
  }

  /** Commands are sent, but no binding reads the replies. */
  problem(): string | undefined {
    const { clock, sagas } = this.#runtime
    if (this.#strayed !== undefined && clock.monotonic() < this.#strayed.until) return this.#strayed.message
    if (this.#isBound || clock.monotonic() - this.#expectedAt < BOUND_WITHIN_MS) return undefined
    return commandChannels(sagas).length > 0 ? DEAF : undefined
  }

  /** The same in the log, once. */
  sayProblem(): void {
    const problem = this.#saidDeaf ? undefined : this.problem()
    if (problem === undefined) return
    this.#saidDeaf = true
    this.#runtime.logger.error({}, problem)
  }

  /** An answer, however it came. */
  async take(reply: SagaReply): Promise<void> {
    const { loader, logger } = this.#runtime
    const fields = { saga: reply.saga, id: reply.sagaId, step: reply.step, operation: reply.operation }
    const key = { name: reply.saga, id: reply.sagaId }
    const found = await this.#applier.find(key)
    const known = found !== undefined && isBehind(found, reply) ? await loader.load(key) : found
    if (known === undefined) {
      if (await this.#post(key, reply)) return logger.info(fields, 'reply left for an instance with its version')
      await this.#requireOwn(reply)
      logger.warn(fields, 'reply for a saga that is not here or has ended: ignored')
      return
    }
    const applied = await this.#apply(known.saga, key, reply)
    if (applied === 'left') return logger.error(fields, 'reply left for an instance that can read the saga')
    if (applied?.changed === true) return
    if (known.row.birth !== reply.birth) await this.#requireOwn(reply)
    logger.debug(fields, 'late or repeated reply ignored')
  }

  /** Checks a reply that no saga here takes. @throws `saga.reply_strayed` when a saga of another database may wait for it */
  async #requireOwn(reply: SagaReply): Promise<void> {
    const { sql, homeDatabase, service, clock } = this.#runtime
    const other = await homeDatabase.other(sql, reply.birth)
    if (other === undefined) return
    const { saga, sagaId: id, step } = reply
    const fields = {
      saga,
      id,
      step,
      service,
      channel: sagaReplies(service).name,
      other,
      own: await homeDatabase.id(sql),
    }
    const error = new SagaError('saga.reply_strayed', fields)
    this.#strayed = { message: error.message, until: clock.monotonic() + SAY_STRAYED_MS }
    throw error
  }

  /** Leaves it in the row for another instance: without what the database can never store. */
  async #post(key: SagaKey, reply: SagaReply): Promise<boolean> {
    const { sql, store } = this.#runtime
    try {
      return await store.post(sql, key, reply)
    } catch (error) {
      if (!isUnwritable(error)) throw error
      const { result: _, ...rest } = reply
      const { code = 'saga.participant', message = '' } = reply.status === 'ok' ? describeError(error) : reply
      const failed = reply.status === 'ok' ? ({ status: 'failed', final: true } as const) : {}
      return store.post(sql, key, { ...rest, ...failed, ...storable({ code, message }) })
    }
  }

  /** A reply that is not applied within a lease is tried again, and does not block those behind it. */
  async #apply(saga: Saga, key: SagaKey, reply: SagaReply): Promise<Applied | 'left' | undefined> {
    const work = replyEvent(saga, reply, this.#runtime.maxPayloadBytes)
      .then((event) => this.#applier.apply(key, event, { birth: reply.birth }))
      .catch(async (error: unknown) => {
        if (!isUnreadable(error)) throw error
        await this.#post(key, reply)
        return 'left' as const
      })
    return appliedWithinLease(this.#runtime, `the reply for ${key.name}/${key.id}`, work)
  }
}

/** The cached state of a growing saga predates this step. */
function isBehind({ saga }: LoadedSaga, { step }: SagaReply): boolean {
  return !saga.steps.some(({ name }) => name === step)
}
