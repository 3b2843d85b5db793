import { hasCode, invalidOption, requireInteger, toError } from '../../../core/errors.ts'
import { randomId } from '../../../core/random-id.ts'
import { fieldOf } from '../../../core/thrown-values.ts'
import { commitTimer } from '../../telemetry.ts'
import { ClusterError } from '../store/cluster-errors.ts'
import type { CommitOperation, CommitReply, CommitRequest, Generation } from '../store/cluster-store.ts'
import { requireKey } from '../store/encode-cluster-data.ts'
import type { StateOperation } from './state.ts'
import type { ResolvedState } from './state-options.ts'
import type { StateValues } from './state-values.ts'

const MAX_OPERATIONS = 128
const RETRY_MS = 20
const MAX_RETRY_MS = 200

export type Written = Extract<CommitReply, { status: 'committed' | 'conflict' }>

/** Writes, each applied once or not at all, with a known outcome unless the store stays unavailable. */
export class StateWriter<Out, In> {
  readonly #options: ResolvedState<Out, In>
  readonly #values: StateValues<Out, In>
  readonly #closing: AbortSignal
  readonly #timed: ReturnType<typeof commitTimer> | undefined

  constructor(options: ResolvedState<Out, In>, values: StateValues<Out, In>, closing: AbortSignal) {
    this.#options = options
    this.#values = values
    this.#closing = closing
    const { telemetry, name, clock } = options
    this.#timed = telemetry === undefined ? undefined : commitTimer(telemetry, name, clock)
  }

  /**
   * @param since a revision known before the write
   * @throws `cluster.member_evicted`, `cluster.store_unavailable`, ...
   */
  async commit(operations: readonly CommitOperation[], since: number): Promise<Written> {
    const { cluster, name, keepChanges, keepDeletedMs, store } = this.#options
    const request = {
      id: { cluster, state: name },
      operations,
      requestId: randomId(),
      since,
      keepChanges,
      keepDeletedMs,
    }
    const send = (): Promise<CommitReply> => this.#send(request)
    const reply = await (this.#timed === undefined ? send() : this.#timed(send))
    if (reply.status === 'evicted')
      throw new ClusterError('cluster.member_evicted', { ...reply.boundTo, reason: 'dead' })
    if (reply.status !== 'unknown') return reply
    const detail = 'the answer was lost, and so much was written since that the log does not tell any more'
    throw new ClusterError('cluster.store_unavailable', { store: store.name, outcome: 'unknown', detail })
  }

  /**
   * Repeats until there is an answer, or `retryForMs` has passed. The request keeps its id: the store looks it up in the log
   * before it executes a later attempt, and refuses earlier ones from then on. So every answer stays true.
   */
  async #send(request: Omit<CommitRequest, 'attempt'>): Promise<CommitReply> {
    const { store, clock, retryForMs } = this.#options
    const begunAt = clock.monotonic()
    let attempt = 1
    for (let pauseMs = RETRY_MS; ; pauseMs = Math.min(2 * pauseMs, MAX_RETRY_MS)) {
      try {
        return await store.commit({ ...request, attempt })
      } catch (error) {
        const isAway = hasCode(error, 'cluster.store_unavailable')
        if (isAway && fieldOf(error, 'outcome') === 'unknown') attempt += 1
        const over = clock.monotonic() - begunAt + pauseMs > retryForMs || this.#closing.aborted
        if (!isAway || over) throw attempt === 1 ? error : this.#unknown(error)
      }
      await clock.sleep(pauseMs, this.#closing).catch(() => {})
    }
  }

  #unknown(error: unknown): Error {
    if (hasCode(error, 'cluster.store_unavailable') && fieldOf(error, 'outcome') === 'unknown') {
      return error as Error
    }
    return new ClusterError(
      'cluster.store_unavailable',
      { store: this.#options.store.name, outcome: 'unknown', detail: toError(error).message },
      error,
    )
  }

  /** Checks and encodes operations. @throws TypeError, RangeError, `cluster.data_invalid`, `cluster.data_too_large`, SchemaError */
  operations(operations: readonly StateOperation<In>[]): CommitOperation[] {
    const path = `sharedState("${this.#options.name}").transact`
    if (!Array.isArray(operations)) throw invalidOption(path, operations, 'an array of operations')
    if (operations.length < 1 || operations.length > MAX_OPERATIONS) {
      throw invalidOption(`${path}.length`, operations.length, `1 to ${MAX_OPERATIONS} operations`)
    }
    const keys = new Set<string>()
    return operations.map((operation) => {
      const key = requireKey(`state "${this.#options.name}"`, keyOf(operation))
      if (keys.has(key)) throw invalidOption(path, key, 'each key once')
      keys.add(key)
      const { ifVersion } = operation
      if (ifVersion !== undefined) requireInteger(`sharedState("${this.#options.name}").${key}.ifVersion`, ifVersion, 0)
      if ('put' in operation) {
        const boundTo = this.generation(key, operation)
        return { kind: 'put', key, ifVersion, json: this.#values.encode(key, operation.value), boundTo }
      }
      if ('delete' in operation) return { kind: 'delete', key, ifVersion }
      return {
        kind: 'check',
        key,
        ifVersion: requireInteger(`sharedState("${this.#options.name}").${key}.ifVersion`, ifVersion, 0),
      }
    })
  }

  /**
   * @returns the generation that the entry is bound to; `undefined` without `boundTo`, and for `null`
   * @throws TypeError also for a `boundTo` that is `undefined`: the entry would outlive its owner
   */
  generation(key: string, options: { readonly boundTo?: Generation | null }): Generation | undefined {
    if (!('boundTo' in options) || options.boundTo === null) return undefined
    const path = `sharedState("${this.#options.name}").${key}.boundTo`
    if (!this.#options.hasMembers) {
      throw new TypeError(`${path}: the state has no cluster; pass createSharedState({ cluster }) of the membership`)
    }
    const { boundTo } = options
    if (typeof boundTo?.instance !== 'string' || !Number.isSafeInteger(boundTo.generation)) {
      const remedy = 'self() is undefined before join() has resolved and while the member is isolated'
      throw invalidOption(
        path,
        boundTo,
        `null, or a member with instance and generation, such as membership.self() (${remedy})`,
      )
    }
    return { instance: boundTo.instance, generation: boundTo.generation }
  }
}

export function keyOf(operation: StateOperation<unknown>): unknown {
  if (typeof operation !== 'object' || operation === null) return undefined
  if ('put' in operation) return operation.put
  return 'delete' in operation ? operation.delete : operation.check
}
