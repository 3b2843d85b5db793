/**
 * Handles a command: the call and its reply in one transaction, the reply in a second one if the first is rolled back, and one
 * span around both.
 */

import type { HandlerContext } from '../../binder/bindings/handler-types.ts'
import { type Clock, SECOND } from '../../core/clock.ts'
import { copyData } from '../../core/copy-data.ts'
import { toError } from '../../core/errors.ts'
import type { SqlTransaction } from '../../core/sql.ts'
import type { Telemetry } from '../../core/telemetry-interface.ts'
import { readTraceContext, type TraceContext } from '../../core/trace-context.ts'
import { PlacePatience, untilFree } from '../../core/transaction-retries.ts'
import { isClosed, writeFault } from '../../core/write-fault.ts'
import { type SendingTransaction, sendingThrough, type TransactionOutbox } from '../../outbox/transaction-with-send.ts'
import { describeError, isPermanent, isRefusal, storable } from '../coordinator/outcome-to-event.ts'
import { callAttributes, sagaAttributes } from '../coordinator/telemetry.ts'
import type { StepFailure } from '../machine/state.ts'
import { inSaga } from '../wire/current-saga.ts'
import type { SagaReply } from '../wire/reply.ts'
import { answerTo, type CommandHeaders } from '../wire/wire.ts'
import { contextOf, type ParticipantContext } from './context.ts'
import { commandOf, mayShare } from './old-commands.ts'
import { type Duties, type Duty, type DutyAhead, type GivenUp, inDoubt } from './operation-handlers.ts'
import { type AnswerParts, answerIn, answerStranger, encodeAnswer, sendAnswer } from './send-command-answer.ts'
import type { SharedCommand, SharedCommandTransactions } from './shared-command-transaction.ts'
import { stepOf, UnansweredHandlerCalls } from './unanswered-handler-calls.ts'

const OUTBOX = 'participant(channel, { sql, outbox }, handlers)'

export interface CommandHandlerParts<Request> extends AnswerParts {
  /** Outbox for messages that handlers send. */
  readonly messages?: TransactionOutbox | undefined
  readonly duties: Duties<Request, ParticipantContext>
  /** Maximum number of calls of the handler per delivery; after the last one the reply is `failed`. */
  readonly maxAttempts: number
  /** Kept across messages. A circuit breaker's trial call, or a call while the database was unavailable, is not an attempt. */
  readonly unanswered: UnansweredHandlerCalls
  /** Kept across messages: a command that waits for a lock delays those behind it. */
  readonly busy: PlacePatience
  /** Same while another process still works on the step. */
  readonly busyAhead: PlacePatience
  /** Set where calls that are ready together share a transaction; absent: each has its own. */
  readonly shared: SharedCommandTransactions | undefined
}

/** Creates the parts that persist across messages of a participant. */
export function keptParts(clock: Clock): Pick<CommandHandlerParts<never>, 'unanswered' | 'busy' | 'busyAhead'> {
  return {
    unanswered: new UnansweredHandlerCalls(),
    busy: new PlacePatience(clock),
    busyAhead: new PlacePatience(clock, AHEAD_MS),
  }
}

/** How long to wait for another process's call. After that the coordinator's retries continue. */
const AHEAD_MS = 10 * SECOND

/** A command with its handling. */
interface Commanded<Request> {
  readonly command: CommandHeaders
  readonly duty: AnyDuty<Request>
}

interface Decided<Request> extends Commanded<Request> {
  readonly duty: Duty<Request, ParticipantContext>
}

type AnyDuty<Request> = Duty<Request, ParticipantContext> | DutyAhead<Request, ParticipantContext>

export class CommandHandler<Request> {
  readonly #parts: CommandHandlerParts<Request>

  constructor(parts: CommandHandlerParts<Request>) {
    this.#parts = parts
  }

  /** Resolves after the commit that contains the reply. */
  async handle(request: Request, message: HandlerContext): Promise<void> {
    const command = commandOf(message, this.#parts.clock)
    if (command === undefined) throw notACommand(message)
    const { saga, sagaId, step, operation, key } = command
    const scope = { saga, sagaId, step, operation, key }
    await traced(this.#parts.telemetry, command, message, () =>
      inSaga(scope, () => this.#answer(request, command, message)),
    )
  }

  /**
   * Handles a payload that does not fit the channel. The sender receives a permanent failure; nothing was done, so there is
   * nothing to undo. Without valid saga headers no sender waits for a reply.
   */
  async unreadable(error: Error, message: HandlerContext): Promise<void> {
    const command = commandOf(message, this.#parts.clock)
    if (command === undefined) return
    const duty = this.#dutyOf(command)
    if (duty === undefined) return void (await answerStranger(this.#parts, this.#parts.duties.invoke, command, message))
    if (duty.ahead !== undefined && !duty.needsRequest) return this.handle(undefined as Request, message)
    const { code, message: text } = describeError(error)
    message.log.warn({ sagaKey: command.key, operation: command.operation, code }, 'saga command not readable')
    const failed: SagaReply = { ...answerTo(command), status: 'failed', final: true, code, message: text }
    await answerIn(this.#parts, message, async (tx) => {
      await sendAnswer(this.#parts, tx, command, await duty.uncalled(tx, command, failed))
    })
  }

  /** Returns `undefined` for a command to another kind of participant. */
  #dutyOf({ kind, operation }: CommandHeaders): AnyDuty<Request> | undefined {
    return kind === this.#parts.kind ? this.#parts.duties[operation] : undefined
  }

  /** @returns the error, if it was answered */
  async #answer(request: Request, command: CommandHeaders, message: HandlerContext): Promise<unknown> {
    const { unanswered } = this.#parts
    const duty = this.#dutyOf(command)
    if (duty === undefined) return answerStranger(this.#parts, this.#parts.duties.invoke, command, message)
    const step = stepOf(command)
    let isFirst = !unanswered.has(step)
    try {
      if (duty.ahead !== undefined) {
        await this.#answerAfter(duty, request, command, message)
        return undefined
      }
      if (duty.begin !== undefined) {
        isFirst = await untilFree(this.#parts.clock, message.signal, () => this.#begin(duty, command))
      }
      await this.#decide(duty, request, command, message, (calls) => {
        unanswered.add(step)
        if (calls > 1) isFirst = false
      })
      unanswered.delete(step)
      return undefined
    } catch (error) {
      await this.#answerError({ command, duty }, message, isFirst && message.attempt === 1, error)
      unanswered.delete(step)
      return error
    }
  }

  /** @returns true when nothing was begun before */
  async #begin(duty: Duty<Request, ParticipantContext>, command: CommandHeaders): Promise<boolean> {
    const { sql, shared } = this.#parts
    if (shared !== undefined && mayShare(command)) return shared.begin(command, duty)
    if ((await duty.beginFirst?.(sql, command)) === true) return true
    return sql.transaction(async (tx) => (await duty.begin?.(tx, command)) === true)
  }

  /** @param calling called with the number of each attempt before it; an attempt may have effects outside its transaction */
  async #decide(
    duty: Duty<Request, ParticipantContext>,
    request: Request,
    command: CommandHeaders,
    message: HandlerContext,
    calling: (nth: number) => void,
  ): Promise<void> {
    using patience = duty.patience?.(message.signal)
    const { messages } = this.#parts
    const busy = this.#parts.busy.tries(message.signal)
    for (let calls = 0; ; ) {
      try {
        // A shared transaction that was rolled back has called it before, and effects outside of that transaction remain.
        await this.#transaction({ command, duty }, request, (tx) => {
          calling(++calls)
          return contextOf(sendingThrough(messages, tx, OUTBOX), command, message)
        })
        return
      } catch (error) {
        if ((await patience?.wait(error)) === true) calls = 0
        else if (duty.isHeld?.(error) === true || !(await busy.wait(error))) throw error
      }
    }
  }

  async #answerAfter(
    duty: DutyAhead<Request, ParticipantContext>,
    request: Request,
    command: CommandHeaders,
    message: HandlerContext,
  ): Promise<void> {
    const { sql } = this.#parts
    // An XA participant receives a transaction that will be prepared, perhaps of another database: its type has no `send`.
    const contextIn = (tx: SqlTransaction): ParticipantContext => contextOf(tx as SendingTransaction, command, message)
    const busy = this.#parts.busyAhead.tries(message.signal)
    for (;;) {
      try {
        const decide = await duty.ahead({ request: copyData(request), command, message, busy, contextIn })
        await sql.transaction(async (tx) => sendAnswer(this.#parts, tx, command, await decide(tx)))
        return
      } catch (error) {
        if (duty.isHeld?.(error) === true || !(await busy.wait(error))) throw error
      }
    }
  }

  /** @param calling called before each call */
  async #transaction(
    { command, duty }: Decided<Request>,
    request: Request,
    calling: (tx: SqlTransaction) => ParticipantContext,
  ): Promise<void> {
    const { sql, shared, outbox } = this.#parts
    const decide = async (tx: SqlTransaction): Promise<void> => {
      const context = calling(tx)
      await sendAnswer(this.#parts, tx, command, await duty.decide(tx, copyData(request), command, context))
    }
    if (shared === undefined || !mayShare(command)) return sql.transaction(decide)
    const { together } = duty
    const item: SharedCommand = { command, outbox, operation: together?.operation }
    await shared.decide(
      item,
      (timed) => sql.transaction((tx) => timed(() => decide(tx))),
      async (tx) => {
        if (together === undefined) return decide(tx)
        const decided = await together.decideFound(item.found, {
          request: copyData(request),
          command,
          context: calling(tx),
        })
        item.decided = decided
        item.answer = await encodeAnswer(this.#parts, tx, command, decided.reply)
      },
    )
  }

  /** Stores and sends the refusal in a second transaction after the first was rolled back. @throws the error: try again here */
  async #answerError(
    { command, duty }: Commanded<Request>,
    message: HandlerContext,
    isFirst: boolean,
    error: unknown,
  ): Promise<void> {
    const saysNo = isRefusal(error) && duty.mayRefuse
    // After a failed call that may have had an effect, the refusal of a later call does not prove that nothing was done.
    const refused = saysNo && (isFirst || duty.isInside === true)
    const final = saysNo || isPermanent(error)
    const { maxAttempts } = this.#parts
    // While a database is unavailable, or a part of this process is closed, the command stays unanswered: the broker or the caller
    // delivers it again, and counts no attempt.
    const isAway = writeFault(error) === 'unavailable' || isClosed(error)
    // Another transaction holds the needed rows: the coordinator makes the pauses, and later commands do not wait for them.
    const isHeld = duty.isHeld?.(error) === true || writeFault(error) === 'busy'
    const isLast = final || isHeld || (message.attempt >= maxAttempts && !isAway)
    if (message.signal.aborted || !isLast) throw error
    const { operation, key } = command
    const failure = describeError(error)
    const { code } = failure
    const status: GivenUp = refused ? 'refused' : final ? 'final' : 'failed'
    // A refusal is a normal reply, however frequent; other errors need attention.
    const fields = { sagaKey: key, operation, code, status }
    if (refused) message.log.info(fields, 'saga command not done')
    else message.log.warn({ ...fields, err: toError(error) }, 'saga command not done')
    const answer = (said: StepFailure): Promise<void> =>
      answerIn(this.#parts, message, async (tx) => {
        await sendAnswer(this.#parts, tx, command, await duty.givenUp(tx, command, status, noOf(command, status, said)))
      })
    try {
      await answer(failure)
    } catch (unanswered) {
      if (!isPermanent(unanswered)) throw unanswered
      await answer(storable(failure))
    }
  }
}

function noOf(command: CommandHeaders, status: GivenUp, failure: StepFailure): SagaReply {
  const { attempt } = command
  const no = { ...answerTo(command), ...failure, ...(attempt !== undefined && { attempt }) }
  if (status === 'refused') return { ...no, status }
  const failed: SagaReply = { ...no, status: 'failed' }
  return status === 'final' ? inDoubt(failed) : failed
}

/** Wraps the call and its answer in a span. */
async function traced(
  telemetry: Telemetry | undefined,
  command: CommandHeaders,
  message: HandlerContext,
  work: () => Promise<unknown>,
): Promise<void> {
  if (telemetry === undefined) return void (await work())
  const span = telemetry.span(`${command.operation} ${command.saga}/${command.step}`, {
    kind: 'internal',
    parent: parentIn(telemetry, message),
    attributes: { ...sagaAttributes({ name: command.saga, id: command.sagaId }), ...callAttributes(command) },
  })
  try {
    span.end(await span.run(work))
  } catch (error) {
    span.end(error)
    throw error
  }
}

/** Returns the binder's span for the message, if it created one, else the span that the message names. */
function parentIn(telemetry: Telemetry, { headers }: HandlerContext): TraceContext | 'active' {
  const named = readTraceContext(headers)
  return named === undefined || named.traceId === telemetry.active()?.traceId ? 'active' : named
}

/** Returns the error for a message on a command channel without saga headers: the sender made a mistake, and expects no reply. */
function notACommand({ id, channel }: HandlerContext): TypeError {
  const text = `message ${id} on "${channel}" is no saga command: its saga-* headers are missing or wrong`
  return Object.assign(new TypeError(text), { retryable: false })
}
