/**
 * A transaction that is just code, in the process that runs the code. Each call of a branch is durable before it leaves;
 * that the code has returned is durable before the first branch is confirmed. What becomes of it after that, and when this
 * process dies, is the coordinator's, as with any saga.
 */
import { AsyncLocalStorage } from 'node:async_hooks'
import { endingContext } from '../../core/ambient.ts'
import { type Backoff, backoffDelayMs } from '../../core/backoff.ts'
import type { Clock } from '../../core/clock.ts'
import { invalidOption, toError } from '../../core/errors.ts'
import type { ContextLogger } from '../../core/logger.ts'
import { validate } from '../../core/schema.ts'
import type { Branch } from '../definition/global-transaction.ts'
import type { Saga } from '../definition/saga.ts'
import type { StepContext } from '../definition/step-contexts.ts'
import { resultSchema } from '../definition/ties.ts'
import { BranchFailed, BranchRefused, GlobalTransactionEnded } from '../errors.ts'
import { stored } from '../json.ts'
import type { StepState } from '../machine/state.ts'
import type { SagaKey, SagaRow } from '../store/rows.ts'
import { inSaga } from '../wire/context.ts'
import type { HeldBody } from './bodies.ts'
import type { Engine } from './engine.ts'
import type { Snapshot } from './plan.ts'

/** What the code of a global transaction gets. */
export interface GlobalTransaction {
  /** The definition's name. */
  readonly name: string
  readonly id: string
  /** Aborts when the transaction is to be cancelled, its time is up, or its lease is lost: nothing more can be called. */
  readonly signal: AbortSignal
  readonly log: ContextLogger
  /**
   * Calls `try` of a branch and gives what it returned. Several calls may be under way at once; one that is not awaited is
   * part of the transaction all the same.
   * @throws BranchRefused when the participant said no: it did nothing, and the code may go on without it; BranchFailed when
   * the outcome is not known: then all is cancelled, whatever the code does; GlobalTransactionEnded when it is too late
   */
  call<In, Result>(branch: Branch<In, Result>, payload: NoInfer<In>): Promise<Result>
}

export interface GlobalHost {
  /** The transaction as it is in the database now. */
  readonly read: (key: SagaKey) => Promise<Snapshot | undefined>
  readonly engine: Engine
  readonly clock: Clock
  readonly pollMs: number
  readonly maxPayloadBytes: number
}

type Code = (global: GlobalTransaction) => unknown

interface Thrown {
  readonly error: unknown
  /** True: the transaction could take no more calls then, so this is not why it is cancelled. */
  readonly tooLate: boolean
}

const storage = endingContext<RunningCode>()

/** The global transaction whose code is running here, over every `await`; `undefined` outside of one. */
export function currentGlobalTransaction(): GlobalTransaction | undefined {
  return storage.getStore()
}

/** Runs `work` as if no global transaction were around it (what others call "not supported"). */
export function outsideGlobalTransaction<T>(work: () => T): T {
  return storage.exit(work)
}

/** The transaction of the calling code, for one that joins it. */
export function runningCode(): RunningCode | undefined {
  return storage.getStore()
}

/** Between looks at the row while an answer is waited for: another instance may have got it. */
const LOOK: Omit<Backoff, 'maxMs'> = { initialMs: 20, factor: 1.5, jitter: 0.2 }
const WRITE: Backoff = { initialMs: 50, factor: 2, maxMs: 1_000, jitter: 0.2 }

export class RunningCode implements HeldBody, GlobalTransaction {
  readonly name: string
  readonly id: string
  readonly #host: GlobalHost
  readonly #definition: Saga
  readonly #code: Code
  readonly #stop = new AbortController()
  /** Around whoever called `globalTransaction` and waits for it: its locks and spans are those of the code, too. */
  readonly #inside: <T>(work: () => T) => T = AsyncLocalStorage.snapshot()
  /** The transaction whose code begins this one. */
  readonly #around: RunningCode | undefined = runningCode()
  readonly #answers = new Map<string, PromiseWithResolvers<StepState>>()
  /** Calls that are not durable yet. */
  readonly #asking = new Set<Promise<void>>()
  #log: ContextLogger | undefined
  /** Tells the transaction from a later one with its id. */
  #birth: string | undefined
  #calls = 0
  #looking = false
  /** What the code threw. */
  #thrown: Thrown | undefined
  /** Why it must not be confirmed although the code returned: something that had joined it failed. */
  #doomed: { readonly error: unknown } | undefined

  constructor(host: GlobalHost, definition: Saga, id: string, code: Code) {
    this.#host = host
    this.#definition = definition
    this.name = definition.name
    this.id = id
    this.#code = code
  }

  get signal(): AbortSignal {
    return this.#stop.signal
  }

  get log(): ContextLogger {
    if (this.#log === undefined) throw new TypeError('log: the code has not begun')
    return this.#log
  }

  /** What the code threw, if it did. */
  get thrown(): Thrown | undefined {
    return this.#thrown
  }

  async run({ saga, sagaId, birth, step, key, signal, log }: StepContext): Promise<unknown> {
    const scope = { saga, sagaId, step, operation: 'invoke', key } as const
    this.#log = log
    this.#birth = birth
    const onAbort = (): void => this.#end(toError(signal.reason).message, { cause: signal.reason })
    signal.addEventListener('abort', onAbort, { once: true })
    if (signal.aborted) onAbort()
    try {
      const result = await this.#inside(() => inSaga(scope, () => storage.run(this, async () => this.#code(this))))
      await this.#allAsked()
      if (this.#doomed !== undefined) throw this.#doomed.error
      return result
    } catch (error) {
      this.#thrown = { error, tooLate: this.signal.aborted }
      throw error
    } finally {
      signal.removeEventListener('abort', onAbort)
      this.#end('its code has ended')
    }
  }

  /** It is this one, or one that is around it. */
  isWithin(name: string, id: string): boolean {
    return (this.name === name && this.id === id) || this.#around?.isWithin(name, id) === true
  }

  /** Code that takes part in this transaction. When it throws, this one cannot be confirmed any more. */
  async join(code: Code): Promise<unknown> {
    try {
      return stored(`result of what joined ${this.name}/${this.id}`, await code(this), this.#host.maxPayloadBytes)
    } catch (error) {
      this.#doomed ??= { error }
      throw error
    }
  }

  call<In, Result>(branch: Branch<In, Result>, payload: NoInfer<In>): Promise<Result> {
    let asked: unknown
    try {
      asked = this.#checked(branch, payload)
    } catch (error) {
      return Promise.reject(toError(error))
    }
    const called = this.#call(branch.name, asked)
    // Whoever does not wait for it hears of it by what becomes of the transaction.
    called.catch(() => {})
    return called as Promise<Result>
  }

  #checked(branch: Branch, payload: unknown): unknown {
    const { name } = branch ?? {}
    if (name === undefined || this.#definition.branches?.[name] !== branch.step) {
      throw invalidOption(`${this.name}.call`, name, 'a branch that the transaction lists in `branches`')
    }
    return stored(`payload of ${name}`, payload, this.#host.maxPayloadBytes)
  }

  async #call(name: string, asked: unknown): Promise<unknown> {
    const step = `${++this.#calls}.${name}`
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

  seen({ row }: Snapshot): void {
    const { status, cancel, steps, failure } = row.state
    for (const state of steps) {
      if (state.status !== 'pending' && state.status !== 'invoking') this.#answers.get(state.step)?.resolve(state)
    }
    if (status === 'running' && cancel === undefined) return
    const why = cancel?.message ?? failure?.message
    this.#end(why === undefined ? `it is ${status}` : `cancelled: ${why}`)
  }

  /** A branch that the code called and did not wait for is in the transaction before that is decided. */
  async #allAsked(): Promise<void> {
    while (this.#asking.size > 0) await Promise.all(this.#asking)
  }

  /** Durable when it resolves. The name of the step makes it harmless to be asked twice when the database gave no answer. */
  async #ask(step: string, branch: string, payload: unknown): Promise<void> {
    const { engine, clock } = this.#host
    for (let tries = 1; ; tries++) {
      this.signal.throwIfAborted()
      try {
        const event = { type: 'branched', step, branch, payload } as const
        const applied = await engine.apply(this.#key(), event, { birth: this.#birth })
        if (applied !== undefined && this.#isThere(applied.snapshot, step)) return
        throw new GlobalTransactionEnded(this.name, this.id, 'nothing more can be called')
      } catch (error) {
        if (error instanceof GlobalTransactionEnded) throw error
        this.log.warn({ branch: step, err: toError(error) }, 'branch not written, trying again')
        await clock.sleep(backoffDelayMs(WRITE, tries, Math.random()), this.signal)
      }
    }
  }

  #isThere({ row }: Snapshot, step: string): boolean {
    return this.#isThis(row) && row.state.steps.some((state) => state.step === step)
  }

  /** False: this one ended and was deleted, and its id was given to another. */
  #isThis({ birth }: SagaRow): boolean {
    return (birth ?? undefined) === this.#birth
  }

  async #resultOf(step: string, branch: string, { status, result, error }: StepState): Promise<unknown> {
    const { code = 'saga.unknown', message = `it is ${status}` } = error ?? {}
    if (status === 'refused') throw new BranchRefused(step, code, message)
    if (status !== 'invoked') throw new BranchFailed(step, code, message)
    const definition = this.#definition.branches?.[branch]
    const schema = definition && resultSchema({ ...this.#definition, steps: [definition] }, branch)
    return schema === undefined ? result : validate(`reply of ${step}`, schema, result)
  }

  /** Nothing more can be called, and nothing is waited for. */
  #end(why: string, options?: ErrorOptions): void {
    if (this.signal.aborted) return
    const reason = new GlobalTransactionEnded(this.name, this.id, why, options)
    this.#stop.abort(reason)
    for (const { reject } of this.#answers.values()) reject(reason)
  }

  #look(): void {
    if (this.#looking) return
    this.#looking = true
    void this.#lookAgain().finally(() => {
      this.#looking = false
    })
  }

  /** While an answer is waited for: nobody else looks at a transaction whose code runs, so what is late is sent again here. */
  async #lookAgain(): Promise<void> {
    const { engine, clock, read, pollMs } = this.#host
    for (let tries = 1; this.#answers.size > 0 && !this.signal.aborted; tries++) {
      const pause = backoffDelayMs({ ...LOOK, maxMs: pollMs }, tries, Math.random())
      await clock.sleep(pause, this.signal).catch(() => {})
      if (this.#answers.size === 0 || this.signal.aborted) return
      try {
        const now = await read(this.#key())
        if (now === undefined || !this.#isThis(now.row)) return this.#end('it is not there any more')
        this.seen(now)
        const options = { snapshot: now, birth: this.#birth }
        for (const step of this.#late(now)) await engine.apply(this.#key(), { type: 'late', step }, options)
      } catch (error) {
        this.log.warn({ err: toError(error) }, 'global transaction not read, trying again')
      }
    }
  }

  #late({ row, writtenAt }: Snapshot): readonly string[] {
    const elapsedMs = this.#host.clock.monotonic() - writtenAt
    return row.state.steps.flatMap(({ step, leftMs }) =>
      leftMs !== undefined && leftMs - elapsedMs < 1 && this.#answers.has(step) ? [step] : [],
    )
  }

  #key(): SagaKey {
    return { name: this.name, id: this.id }
  }
}
