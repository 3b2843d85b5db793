/**
 * Commands to participants that this process calls itself, over HTTP or in-process. Their intent is committed before the call. If
 * this process dies, whichever instance polls sends them again after their timeout, so no state here has to be durable.
 *
 * An unavailable participant is called again for as long as its step waits. Two calls for one step never run at once here: a
 * later one ends the earlier.
 */

import { lastingContext } from '../../core/async-contexts.ts'
import { backoffDelayMs } from '../../core/backoff.ts'
import { type Clock, SECOND } from '../../core/clock.ts'
import { isOf } from '../../core/define-error-class.ts'
import { isRetryable, toError } from '../../core/errors.ts'
import type { Logger } from '../../core/logger.ts'
import { finishesWithin } from '../../core/time-limit.ts'
import type { DirectAnswer, DirectTarget } from '../direct/target.ts'
import { SagaError } from '../errors.ts'
import type { SagaReply } from '../wire/reply.ts'
import { answerTo, type CommandHeaders } from '../wire/wire.ts'
import type { CoordinatorRuntime } from './runtime.ts'
import { TargetLine } from './target-line.ts'
import type { DirectCommand } from './write-plan.ts'

/** Receives the results of direct calls. */
export interface AnswerReceiver {
  /** Applies the reply like a reply message. @throws when it could not be written */
  take(reply: SagaReply): Promise<void>
  /** Gives the command to another process, which sends it at once. */
  giveBack(command: CommandHeaders): Promise<void>
}

const TAKE = { initialMs: 100, factor: 2, maxMs: 5_000, jitter: 0.2 } as const
/** How long a coordinator waits for a participant's database before it starts. */
const FIT_MS = 10 * SECOND
/** Time limit for giving calls back while closing. */
const GIVE_BACK_MS = 1 * SECOND

export class DirectCalls {
  readonly #runtime: CoordinatorRuntime
  readonly #receiver: AnswerReceiver
  /** Running calls by step. */
  readonly #calls = new Map<string, AbortController>()
  readonly #running = new Set<Promise<void>>()
  readonly #lines = new Map<DirectTarget, TargetLine>()
  readonly #detached: <T>(work: () => T) => T = lastingContext()
  /** Aborts when no new call may begin. */
  readonly #closing = new AbortController()

  constructor(runtime: CoordinatorRuntime, receiver: AnswerReceiver) {
    this.#runtime = runtime
    this.#receiver = receiver
  }

  /** Starts the calls without waiting for them. */
  make(commands: readonly DirectCommand[]): void {
    for (const command of commands) this.#begin(command)
  }

  /** Closes: running requests may finish within `drainMs`; calls between two tries are given back. Never rejects. */
  async close(drainMs: number): Promise<void> {
    this.#closing.abort(new SagaError('saga.closed'))
    const { clock } = this.#runtime
    const all = Promise.all(this.#running)
    if (await finishesWithin(clock, drainMs, all)) return
    for (const call of this.#calls.values()) call.abort(new SagaError('saga.closed'))
    const settled = Array.from(this.#lines.keys(), (target) => target.asking.settled?.())
    await finishesWithin(clock, GIVE_BACK_MS, Promise.all([all, ...settled]))
  }

  #begin(command: DirectCommand): void {
    const { key, birth } = command.command
    const step = `${key} ${birth}`
    this.#calls.get(step)?.abort(new Error('it is asked for something else by now'))
    const bytes = command.message.body?.byteLength ?? 0
    const line = this.#lineOf(command.target)
    if (this.#closing.signal.aborted || !line.enter(bytes)) return
    const call = new AbortController()
    this.#calls.set(step, call)
    const running = this.#detached(() => this.#call(command, line, call)).finally(() => {
      this.#running.delete(running)
      line.leave(bytes)
      if (this.#calls.get(step) === call) this.#calls.delete(step)
    })
    this.#running.add(running)
  }

  /** Runs one call to its end. Never rejects. */
  async #call(command: DirectCommand, line: TargetLine, call: AbortController): Promise<void> {
    const { clock, logger } = this.#runtime
    const until = clock.monotonic() + command.waitMs
    const cancel = clock.setTimer(command.waitMs, () => call.abort(new Error('its time is up')))
    const waiting = AbortSignal.any([call.signal, this.#closing.signal])
    try {
      await this.#take(await this.#ask(command, line, call.signal, waiting), until)
    } catch (error) {
      if (isOf(error, SagaError, 'saga.closed')) await this.#giveBack(command)
      else if (!call.signal.aborted) logger.warn({ ...fieldsOf(command), err: toError(error) }, 'answer not written')
    } finally {
      cancel()
    }
  }

  /**
   * Takes a slot of the line for each request, but none for the pauses between requests, so an unanswered call does not block
   * others.
   * @returns the participant's reply, or a substitute for it. @throws the reason of the signal
   */
  async #ask(command: DirectCommand, line: TargetLine, signal: AbortSignal, waiting: AbortSignal): Promise<SagaReply> {
    const { clock } = this.#runtime
    const { asking } = command.target
    for (let tries = 1; ; tries++) {
      const answer = await line.request(waiting, () => asking.ask(command, clock, signal))
      signal.throwIfAborted()
      const reply = replyOf(command, answer)
      if (reply !== undefined) {
        line.unanswered.over()
        return reply
      }
      const { again, afterMs = 0 } = answer as Extract<DirectAnswer, { again: unknown }>
      line.unanswered.failed(undefined, { ...fieldsOf(command), code: again.code, reason: again.message, tries })
      await clock.sleep(Math.max(afterMs, backoffDelayMs(asking.retry, tries, Math.random())), waiting)
    }
  }

  /** Gives the command back. If that fails, it is sent again after its timeout. */
  async #giveBack(command: DirectCommand): Promise<void> {
    try {
      await this.#receiver.giveBack(command.command)
    } catch (error) {
      this.#runtime.logger.debug({ ...fieldsOf(command), err: toError(error) }, 'request not given back')
    }
  }

  /** Applies a reply. If it cannot be written now, the participant's fence returns it again later. */
  async #take(reply: SagaReply, until: number): Promise<void> {
    const { clock } = this.#runtime
    for (let tries = 1; ; tries++) {
      try {
        return await this.#receiver.take(reply)
      } catch (error) {
        const pause = backoffDelayMs(TAKE, tries, Math.random())
        if (this.#closing.signal.aborted || clock.monotonic() + pause > until) throw error
        await clock.sleep(pause)
      }
    }
  }

  #lineOf(target: DirectTarget): TargetLine {
    const known = this.#lines.get(target)
    if (known !== undefined) return known
    const { clock, logger } = this.#runtime
    const line = new TargetLine(target, clock, logger)
    this.#lines.set(target, line)
    return line
  }
}

/**
 * Checks the participants before the first command, because calls to one without its tables would fail. A participant whose
 * database is unavailable is called later. @throws errors that do not resolve by themselves
 */
export async function requireFit(targets: readonly DirectTarget[], clock: Clock, logger: Logger): Promise<void> {
  await Promise.all(
    targets.map(async ({ asking, channel }) => {
      const says = 'the database of a participant does not answer'
      try {
        const looking = asking.ready?.() ?? Promise.resolve()
        if (!(await finishesWithin(clock, FIT_MS, looking))) logger.warn({ to: channel.name }, says)
      } catch (error) {
        if (!isRetryable(error)) throw error
        logger.warn({ to: channel.name, err: toError(error) }, says)
      }
    }),
  )
}

/** Returns `undefined` when there is no answer. */
function replyOf({ command }: DirectCommand, answer: DirectAnswer): SagaReply | undefined {
  // An answer without a round belongs to this request, so it has its round.
  if ('reply' in answer) return { ...answer.reply, round: answer.reply.round ?? command.round }
  if ('again' in answer) return undefined
  const { attempt } = command
  const said = { ...answerTo(command), ...(attempt !== undefined && { attempt }), ...answer.failed }
  return { ...said, status: 'failed', ...(answer.final && { final: true }) }
}

function fieldsOf({ command, target }: DirectCommand): Readonly<Record<string, unknown>> {
  const { saga, sagaId, step, operation } = command
  return { saga, id: sagaId, step, operation, to: target.channel.name }
}
