/** Declarations of consumers that get several messages per handler call. */
import { type Channel, requireChannel } from '../channel/channel.ts'
import type { NameOptions } from './binding-name-types.ts'
import type { BatchBinding, BatchInboxOptions, BatchOnceOptions, BatchSinkOptions, Without } from './declarations.ts'
import type { BatchContext, BatchHandler, BatchOutcome, BatchTransactionContext } from './handler-types.ts'
import type { Result } from './outputs.ts'
import { requireOptionsFirst } from './sink-processor-source.ts'

/** The message was handled, and nothing is sent for it. */
export const ok: BatchOutcome<never> = Object.freeze({ status: 'fulfilled' })

/** The message was handled, and this is sent for it: what a `processor` returns, one payload, `several` or `to` somewhere. */
export function produced<Value>(outputs: Value): BatchOutcome<Value> {
  return Object.freeze({ status: 'fulfilled', value: outputs })
}

/** The message failed: tried again or dead-lettered on its own, as `maxAttempts` and `error.retryable` say. */
export function failed(error: unknown): BatchOutcome<never> {
  return Object.freeze({ status: 'rejected', reason: error })
}

/**
 * Consumes `channel` several messages at a time: as many as are there up to `batch.maxSize`, or what came within
 * `batch.maxWaitMs`. Payloads that do not decode never reach the handler.
 *
 * - *Outcomes.* Nothing returned: all were handled. One outcome per message: each is settled, tried again or
 *   dead-lettered on its own. A throw says nothing of each: the messages are handed over again in halves, and an attempt
 *   counts for a message that was alone.
 * - *Order.* The messages of a key are in one batch at a time, in their order. When one fails and is to be tried again,
 *   the later ones of its key are handed over again behind it, whatever was said of them: they may be handled twice, but
 *   never before it. Messages without a key do not wait for one another. With `retry: 'delayed'` none waits: the one that
 *   failed leaves the line and comes back in a later batch.
 * - *Attempts.* `context.attempt` counts the calls in which the message itself failed, plus one.
 * - *Once.* One transaction for the batch; messages handled before are left out. If one fails, all of it is rolled
 *   back: the failed ones are tried again or dead-lettered, the others handed over without them, in a new transaction. Where a failed
 *   statement aborted it, the batch is taken apart in halves.
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
 * Consumes `input` several messages at a time and sends to `output` what the outcome of each says, see `produced`. A
 * message is settled after its own outputs were confirmed; with `once`, outputs go through the outbox in the one
 * transaction of the batch. All else as for `sinkBatch`.
 *
 * - *Ids* of outputs follow from the message they are for, as those of a `processor`, whatever batch it comes in. So
 *   there is none for the batch as a whole: another time it is another batch.
 * - *Failures.* A message whose outputs do not fit their channel, or that the broker will never take, failed; the others
 *   did not. Nothing is sent for one that is handed over again behind one that failed.
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
