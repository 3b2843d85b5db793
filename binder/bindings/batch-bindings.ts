/** Declarations of consumers that receive several messages per handler call. */
import { type Channel, requireChannel } from '../channel/channel.ts'
import type { NameOptions } from './binding-name-types.ts'
import type { BatchBinding, BatchInboxOptions, BatchOnceOptions, BatchSinkOptions, Without } from './declarations.ts'
import type { BatchContext, BatchHandler, BatchOutcome, BatchTransactionContext } from './handler-types.ts'
import type { Result } from './outputs.ts'
import { requireOptionsFirst } from './sink-processor-source.ts'

/** Outcome: the message was handled, and nothing is sent for it. */
export const ok: BatchOutcome<never> = Object.freeze({ status: 'fulfilled' })

/**
 * Outcome: the message was handled, and `outputs` is sent for it: a result as of a `processor`, one payload, `several`, or
 * addressed by `to`.
 */
export function produced<Value>(outputs: Value): BatchOutcome<Value> {
  return Object.freeze({ status: 'fulfilled', value: outputs })
}

/** Outcome: the message failed. It alone is tried again or dead-lettered, according to `maxAttempts` and `error.retryable`. */
export function failed(error: unknown): BatchOutcome<never> {
  return Object.freeze({ status: 'rejected', reason: error })
}

/**
 * Consumes `channel` in batches: all available messages up to `batch.maxSize`, or those that arrive within `batch.maxWaitMs`.
 * Payloads that do not decode never reach the handler.
 *
 * - *Outcomes.* Nothing returned: all were handled. One outcome per message: each is settled, tried again or dead-lettered on its
 *   own. A thrown error is about no particular message: the messages are passed again in halves, and an attempt counts for a
 *   message that was alone.
 * - *Order.* Messages with one key are in one batch at a time, in their order. If one fails and is to be tried again, the later
 *   ones with its key are passed again behind it, whatever their outcomes: they may be handled twice, but never before it.
 *   Messages without a key do not wait for one another. With `retry: 'delayed'` no message waits: the failed one returns in a
 *   later batch.
 * - *Attempts.* `context.attempt` is the number of calls in which the message itself failed, plus one.
 * - *Once.* One transaction for the batch; messages handled before are omitted. If one fails, everything is rolled back: failed
 *   messages are tried again or dead-lettered, the others are passed without them, in a new transaction. If a failed statement
 *   aborted the transaction, the batch is split in halves.
 */
export function sinkBatch<
  In,
  Out,
  At extends string = string,
  Group extends string = 'anonymous',
  Name extends string = `${At}.${Group}`,
>(
  channel: Channel<In, Out, At>,
  options: (BatchOnceOptions | BatchInboxOptions) & NameOptions<Group, Name>,
  handler: BatchHandler<Out, BatchTransactionContext>,
): BatchBinding<NoInfer<Name>>
export function sinkBatch<
  In,
  Out,
  At extends string = string,
  Group extends string = 'anonymous',
  Name extends string = `${At}.${Group}`,
>(
  channel: Channel<In, Out, At>,
  options: BatchSinkOptions & Without<'once' | 'inbox'> & NameOptions<Group, Name>,
  handler: BatchHandler<Out, BatchContext>,
): BatchBinding<NoInfer<Name>>
export function sinkBatch(channel: unknown, options: BatchBinding['options'], handler: unknown): BatchBinding {
  const input = requireChannel('sinkBatch', channel as Channel)
  requireOptionsFirst(`sinkBatch("${input.name}")`, options, 'sinkBatch(channel, options, handler)')
  return Object.freeze({
    kind: 'batch',
    input,
    output: undefined,
    options: Object.freeze({ ...options }),
    handler: handler as BatchBinding['handler'],
  })
}

/**
 * Consumes `input` in batches, and sends to `output` the outputs in the outcome of each message, see `produced`. A message is
 * settled after its own outputs were confirmed; with `once`, outputs go through the outbox in the single transaction of the
 * batch. Otherwise same as `sinkBatch`.
 *
 * - *Ids* of outputs derive from the message they belong to, as for a `processor`, in whatever batch it is. A batch as a whole
 *   has no output, because a redelivery forms another batch.
 * - *Failures.* A message has failed if its outputs do not fit their channel or the broker can never take them; the others have
 *   not. Nothing is sent for a message that is passed again behind a failed one.
 */
export function processorBatch<
  In,
  Out,
  OutIn,
  OutOut,
  At extends string = string,
  Group extends string = 'anonymous',
  Name extends string = `${At}.${Group}`,
>(
  input: Channel<In, Out, At>,
  output: Channel<OutIn, OutOut>,
  options: (BatchOnceOptions | BatchInboxOptions) & NameOptions<Group, Name>,
  handler: BatchHandler<Out, BatchTransactionContext, Result<NoInfer<OutIn>>>,
): BatchBinding<NoInfer<Name>>
export function processorBatch<
  In,
  Out,
  OutIn,
  OutOut,
  At extends string = string,
  Group extends string = 'anonymous',
  Name extends string = `${At}.${Group}`,
>(
  input: Channel<In, Out, At>,
  output: Channel<OutIn, OutOut>,
  options: BatchSinkOptions & Without<'once' | 'inbox'> & NameOptions<Group, Name>,
  handler: BatchHandler<Out, BatchContext, Result<NoInfer<OutIn>>>,
): BatchBinding<NoInfer<Name>>
export function processorBatch(
  input: unknown,
  output: unknown,
  options: BatchBinding['options'],
  handler: unknown,
): BatchBinding {
  const from = requireChannel('processorBatch', input as Channel)
  const path = `processorBatch("${from.name}")`
  if (typeof options === 'function' && handler === undefined)
    throw new TypeError(`${path}: the output channel is missing: processorBatch(input, output, options, handler)`)
  requireOptionsFirst(path, options, 'processorBatch(input, output, options, handler)')
  return Object.freeze({
    kind: 'batch',
    input: from,
    output: requireChannel(`${path} output`, output as Channel),
    options: Object.freeze({ ...options }),
    handler: handler as BatchBinding['handler'],
  })
}
