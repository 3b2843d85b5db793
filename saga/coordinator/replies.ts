/** Replies of participants, from the service's reply channel or as responses to requests, applied to their sagas. */

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

/** Time within which a binder is expected to start after `run`. */
const BOUND_WITHIN_MS = 10 * SECOND
const DEAF =
  "no binder reads the replies: give createBinder the coordinator's bindings, bindings: [...coordinator.bindings]"
/** Attempts for a reply: about a minute of database outage. After that the command is sent again anyway. */
const ATTEMPTS = 13
/** How long health reports replies for another database after the last one. */
const SAY_STRAYED_MS = 10 * MINUTE
/** Short first pause, so that a lost connection delays a saga by a tenth of a second only. */
const BACKOFF = { initialMs: 100, factor: 2, maxMs: 10 * SECOND }

export class Replies {
  readonly #runtime: CoordinatorRuntime
  readonly #applier: EventApplier
  /** Calls participants that have a URL. */
  readonly direct: DirectCalls
  /** True once a binder reads the replies. */
  #isBound = false
  /** Monotonic ms by which a binder should read them. */
  #expectedAt = Number.POSITIVE_INFINITY
  #saidDeaf = false
  /** The last reply for another database, and the monotonic ms until which health reports it. */
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

  /** Starts to expect a binder, because commands may be sent from now on. */
  expect(): void {
    this.#expectedAt = Math.min(this.#expectedAt, this.#runtime.clock.monotonic())
  }

  /** Returns the problem that commands are sent but no binding reads the replies. */
  problem(): string | undefined {
    const { clock, sagas } = this.#runtime
    if (this.#strayed !== undefined && clock.monotonic() < this.#strayed.until) return this.#strayed.message
    if (this.#isBound || clock.monotonic() - this.#expectedAt < BOUND_WITHIN_MS) return undefined
    return commandChannels(sagas).length > 0 ? DEAF : undefined
  }

  /** Logs that problem, once. */
  sayProblem(): void {
    const problem = this.#saidDeaf ? undefined : this.problem()
    if (problem === undefined) return
    this.#saidDeaf = true
    this.#runtime.logger.error({}, problem)
  }

  /** Applies a reply from a message or a response. */
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

  /** Checks a reply that no saga here accepts. @throws `saga.reply_strayed` when a saga of another database may wait for it */
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

  /** Stores the reply in the row for another instance, without characters that the database cannot store. */
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

  /** Applies a reply. One that is not applied within a lease is tried again, and does not block the next. */
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

/** True if the cached state of a growing saga predates this step. */
function isBehind({ saga }: LoadedSaga, { step }: SagaReply): boolean {
  return !saga.steps.some(({ name }) => name === step)
}
