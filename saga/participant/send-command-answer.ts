/** Sends replies to commands, in the transaction that decides them. */
import type { HandlerContext } from '../../binder/bindings/handler-types.ts'
import type { SendOptions } from '../../binder/channel/message-codec.ts'
import type { Clock } from '../../core/clock.ts'
import { andCommit } from '../../core/commit-with-last-statement.ts'
import type { SqlClient, SqlTransaction } from '../../core/sql.ts'
import type { Telemetry } from '../../core/telemetry-interface.ts'
import { traceHeaders } from '../../core/trace-context.ts'
import { untilFree } from '../../core/transaction-retries.ts'
import type { SagaReply } from '../wire/reply.ts'
import { answerTo, type CommandHeaders, replyChannel, TCC } from '../wire/wire.ts'
import type { Duty } from './operation-handlers.ts'
import type { ReplyOutbox } from './reply-outbox-interface.ts'
import type { SharedCommand } from './shared-command-transaction.ts'

/** Parts of a command handler that replies need. */
export interface AnswerParts {
  readonly sql: SqlClient
  /** Outbox for the replies. */
  readonly outbox: ReplyOutbox
  /** Kind of commands that it accepts, from their header `saga-kind`. */
  readonly kind?: string | undefined
  /** Name of the function that created it, for error messages: `xaParticipant`. */
  readonly madeBy: string
  readonly clock: Clock
  readonly telemetry: Telemetry | undefined
}

/** Operation that can be refused. */
type Refusing = Pick<Duty<never, never>, 'uncalled'>

const PARTICIPANTS: Readonly<Record<string, string>> = { [TCC]: 'tccParticipant, xaParticipant or undoParticipant' }

/** Creates a transaction that replies without calling the handler. */
export function answerIn(
  { sql, clock }: AnswerParts,
  { signal }: HandlerContext,
  write: (tx: SqlTransaction) => Promise<void>,
): Promise<void> {
  return untilFree(clock, signal, () => sql.transaction(write))
}

/** Sends the reply as the last statement of `tx`. */
export async function sendAnswer(
  { outbox, telemetry }: AnswerParts,
  tx: SqlTransaction,
  { replyTo, sagaId }: CommandHeaders,
  reply: SagaReply,
): Promise<void> {
  await outbox.add(andCommit(tx), replyChannel(replyTo), reply, optionsOf(telemetry, sagaId))
}

/** Encodes the reply for an outbox that takes several at once; any other outbox adds it. */
export async function encodeAnswer(
  parts: AnswerParts,
  tx: SqlTransaction,
  command: CommandHeaders,
  reply: SagaReply,
): Promise<SharedCommand['answer']> {
  const { outbox, telemetry } = parts
  if (outbox.encode === undefined || outbox.addEncoded === undefined) {
    await sendAnswer(parts, tx, command, reply)
    return undefined
  }
  const channel = replyChannel(command.replyTo)
  return { channel, message: await outbox.encode(channel, reply, optionsOf(telemetry, command.sagaId)) }
}

function optionsOf(telemetry: Telemetry | undefined, sagaId: string): SendOptions {
  const trace = telemetry?.active()
  return { key: sagaId, headers: trace === undefined ? undefined : traceHeaders(trace) }
}

/** Replies with an error to a command for another kind of participant. */
export async function answerStranger(
  parts: AnswerParts,
  invoke: Refusing | undefined,
  command: CommandHeaders,
  message: HandlerContext,
): Promise<Error> {
  const { saga, step, operation, key, kind } = command
  const { madeBy, kind: own } = parts
  const code = 'saga.wrong_participant'
  const wanted = kind === own ? `"${operation}", which ${madeBy} does not know` : participantsOf(kind)
  const text = `${saga}/${step} asks for ${wanted}, and "${message.channel}" has ${madeBy}: change one of them`
  message.log.error({ sagaKey: key, operation, code }, text)
  const failed: SagaReply = { ...answerTo(command), status: 'failed', final: true, code, message: text }
  await answerIn(parts, message, async (tx) => {
    await sendAnswer(parts, tx, command, await noTo(invoke, tx, command, failed))
  })
  return new Error(text)
}

/**
 * Refuses a first call: unless the barrier has a record, nothing was done, and this stays so when the command reaches the right
 * participant later. Other operations cannot be done here and must not count as done, so an operator has to act.
 */
async function noTo(
  invoke: Refusing | undefined,
  tx: SqlTransaction,
  command: CommandHeaders,
  failed: SagaReply,
): Promise<SagaReply> {
  const { operation, attempt = 1, round } = command
  const duty = operation === 'invoke' ? invoke : undefined
  if (duty === undefined) return failed
  const { final: _, ...no } = failed
  return duty.uncalled(tx, command, attempt === 1 && round === 0 ? { ...no, status: 'refused' } : failed)
}

/** Returns the name of the participants that accept commands of this kind; an unknown kind is named by its header. */
function participantsOf(kind: string | undefined): string {
  if (kind === undefined) return 'participant'
  return (Object.hasOwn(PARTICIPANTS, kind) ? PARTICIPANTS[kind] : undefined) ?? `a participant of the kind "${kind}"`
}
