/**
 * Calls of branches by code in a global transaction, in the process that runs the transaction or in one that has joined it. Each
 * call is durable before it is sent, and refused as soon as the transaction is decided.
 */

import { lastingContext } from '../../core/async-contexts.ts'
import { type Backoff, backoffDelayMs } from '../../core/backoff.ts'
import { isOf } from '../../core/define-error-class.ts'
import { invalidOption, toError } from '../../core/errors.ts'
import type { Logger } from '../../core/logger.ts'
import { validate } from '../../core/schema.ts'
import { SqlError } from '../../core/sql-error.ts'
import type { Saga } from '../definition/saga-definition-types.ts'
import { destinationOf, resultSchema } from '../definition/saga-destinations.ts'
import type { Branch } from '../global/definition.ts'
import { BranchRefused, GlobalTransactionError } from '../global/errors.ts'
import { stored } from '../json.ts'
import type { GrownStep, StepState } from '../machine/state.ts'
import type { SagaKey, SagaRow } from '../store/store-types.ts'
import { applyStoredReplies } from './apply-stored-replies.ts'
import type { EventApplier } from './event-applier.ts'
import type { LoadedSaga } from './loaded-saga.ts'
import type { CoordinatorRuntime } from './runtime.ts'
import { isUnwritable } from './write-fallbacks.ts'

/** The caller of a branch, and its transaction. */
export interface BranchCaller {
  readonly definition: Saga
  readonly id: string
  readonly log: () => Pick<Logger, 'warn'>
  /** Prefix of the number of each call, so that two callers in one transaction never use the same step name. */
  readonly prefix: string
  /** Distinguishes the transaction from a later one with the same id. */
  birth: string | undefined
}

/** Pauses between reads of the row while a reply is awaited, because another instance may have received it. */
const LOOK: Omit<Backoff, 'maxMs'> = { initialMs: 20, factor: 1.5, jitter: 0.2 }
const WRITE: Backoff = { initialMs: 50, factor: 2, maxMs: 1_000, jitter: 0.2 }

export class BranchTryCalls {
  readonly #runtime: CoordinatorRuntime
  readonly #applier: EventApplier
  readonly #caller: BranchCaller
  readonly #stop = new AbortController()
  readonly #answers = new Map<string, PromiseWithResolvers<StepState>>()
  /** Calls that are not durable yet. */
  readonly #asking = new Set<Promise<void>>()
  /** Branches of the transaction, including those of other processes, without refused ones. */
  readonly #known = new Map<string, GrownStep>()
  readonly #refused = new Set<string>()
  #calls = 0
  #looking = false

  constructor(runtime: CoordinatorRuntime, applier: EventApplier, caller: BranchCaller) {
    this.#runtime = runtime
    this.#applier = applier
    this.#caller = caller
  }

  get signal(): AbortSignal {
    return this.#stop.signal
  }

  call<In, Result>(branch: Branch<In, Result>, payload: NoInfer<In>): Promise<Result> {
    let asked: unknown
    try {
      asked = this.#checked(branch, payload)
    } catch (error) {
      return Promise.reject(toError(error))
    }
    const called = this.#call(branch.name, asked)
    // A caller that does not await it learns the outcome from the transaction.
    called.catch(() => {})
    return called as Promise<Result>
  }

  #checked(branch: Branch, payload: unknown): unknown {
    const { name } = branch ?? {}
    if (name === undefined || this.#caller.definition.branches?.[name] !== branch.step) {
      throw invalidOption(
        `${this.#caller.definition.name}.call`,
        name,
        'a branch that the transaction lists in `branches`',
      )
    }
    return stored(`payload of ${name}`, payload, this.#runtime.maxPayloadBytes)
  }

  async #call(name: string, asked: unknown): Promise<unknown> {
    const step = `${this.#caller.prefix}${++this.#calls}.${name}`
    const answer = Promise.withResolvers<StepState>()
    answer.promise.catch(() => {})
    this.#answers.set(step, answer)
    try {
      const asking = this.#ask(step, name, asked)
      this.#asking.add(asking)
      await asking.finally(() => this.#asking.delete(asking))
      this.#look()
      return await this.#resultOf(step, name, await answer.promise)
    } finally {
      this.#answers.delete(step)
    }
  }

  seen({ row }: LoadedSaga): void {
    const { status, cancel, steps, failure } = row.state
    for (const state of steps) {
      this.#keep(state)
      if (state.status !== 'pending' && state.status !== 'invoking') this.#answers.get(state.step)?.resolve(state)
    }
    if (status === 'running' && cancel === undefined) return
    const why = cancel?.message ?? failure?.message
    this.end(why === undefined ? `it is ${status}` : `cancelled: ${why}`)
  }

  #keep({ step, branch, payload, to, status }: StepState): void {
    // A read that began before the refusal may return after it.
    if (branch === undefined || this.#refused.has(step)) return
    if (status === 'refused') {
      this.#refused.add(step)
      this.#known.delete(step)
    } else this.#known.set(step, { step, branch, payload, to })
  }

  /** Returns the branches of the transaction, except refused ones. */
  known(): readonly GrownStep[] {
    return [...this.#known.values()]
  }

  /**
   * Waits until all calls are durable: a branch that the code called without awaiting it is part of the transaction before the
   * decision.
   */
  async allAsked(): Promise<void> {
    while (this.#asking.size > 0) await Promise.all(this.#asking)
  }

  /** Resolves when the call is durable. The name of the step makes it safe to repeat when the database gave no answer. */
  async #ask(step: string, branch: string, payload: unknown): Promise<void> {
    const { clock } = this.#runtime
    const definition = this.#caller.definition.branches?.[branch]
    const to = definition && destinationOf(definition)?.name
    for (let tries = 1; ; tries++) {
      this.signal.throwIfAborted()
      try {
        const event = { type: 'branched', step, branch, to, payload } as const
        const applied = await this.#applier.apply(this.#key(), event, { birth: this.#caller.birth })
        if (applied !== undefined && this.#isThere(applied.snapshot, step)) return this.seen(applied.snapshot)
        throw new GlobalTransactionError('saga.transaction_ended', {
          transaction: this.#caller.definition.name,
          id: this.#caller.id,
          why: 'nothing more can be called',
        })
      } catch (error) {
        if (
          isOf(error, GlobalTransactionError, 'saga.transaction_ended') ||
          isOf(error, SqlError, 'core.sql_own_transaction') ||
          isUnwritable(error)
        )
          throw error
        this.#caller.log().warn({ branch: step, err: toError(error) }, 'branch not written, trying again')
        await clock.sleep(backoffDelayMs(WRITE, tries, Math.random()), this.signal)
      }
    }
  }

  #isThere({ row }: LoadedSaga, step: string): boolean {
    return this.#isThis(row) && row.state.steps.some((state) => state.step === step)
  }

  /** False: this transaction ended and was deleted, and another one has its id. */
  #isThis({ birth }: SagaRow): boolean {
    return birth === this.#caller.birth
  }

  async #resultOf(step: string, branch: string, { status, result, error }: StepState): Promise<unknown> {
    const { code = 'saga.unknown', message = `it is ${status}` } = error ?? {}
    if (status === 'refused') throw new BranchRefused(step, code, message)
    if (status !== 'invoked')
      throw new GlobalTransactionError('saga.branch_failed', { branch: step, failure: { code, message } })
    const definition = this.#caller.definition.branches?.[branch]
    const schema = definition && resultSchema({ ...this.#caller.definition, steps: [definition] }, branch)
    return schema === undefined ? result : validate(`reply of ${step}`, schema, result)
  }

  /** Ends the calls: further ones are refused, and pending ones are no longer awaited. */
  end(why: string, cause?: unknown): void {
    if (this.signal.aborted) return
    const { definition, id } = this.#caller
    const fields = { transaction: definition.name, id, why }
    const reason = new GlobalTransactionError('saga.transaction_ended', fields, cause)
    this.#stop.abort(reason)
    for (const { reject } of this.#answers.values()) reject(reason)
  }

  #look(): void {
    if (this.#looking) return
    this.#looking = true
    void lastingContext()(() => this.#lookAgain()).finally(() => {
      this.#looking = false
    })
  }

  /** Resends late commands while a reply is awaited, because the poller skips a transaction whose code runs. */
  async #lookAgain(): Promise<void> {
    const { clock, loader, pollMs, maxPayloadBytes } = this.#runtime
    for (let tries = 1; this.#answers.size > 0 && !this.signal.aborted; tries++) {
      const pause = backoffDelayMs({ ...LOOK, maxMs: pollMs }, tries, Math.random())
      await clock.sleep(pause, this.signal).catch(() => {})
      if (this.#answers.size === 0 || this.signal.aborted) return
      try {
        const found = await loader.loadShared(this.#key())
        if (found === undefined || !this.#isThis(found.row)) return this.end('it is not there any more')
        const now = await applyStoredReplies(this.#applier, found, { maxPayloadBytes, birth: this.#caller.birth })
        this.seen(now)
        const options = { snapshot: now, birth: this.#caller.birth }
        for (const step of this.#late(now)) await this.#applier.apply(this.#key(), { type: 'late', step }, options)
      } catch (error) {
        this.#caller.log().warn({ err: toError(error) }, 'global transaction not read, trying again')
      }
    }
  }

  #late({ row, writtenAt }: LoadedSaga): readonly string[] {
    const elapsedMs = this.#runtime.clock.monotonic() - writtenAt
    return row.state.steps.flatMap(({ step, leftMs }) =>
      leftMs !== undefined && leftMs - elapsedMs < 1 && this.#answers.has(step) ? [step] : [],
    )
  }

  #key(): SagaKey {
    return { name: this.#caller.definition.name, id: this.#caller.id }
  }
}
