/**
 * A participant in the coordinator's own process with its own database, called directly and not by message. Nothing is lost with
 * the process: the intent was committed before, the fence is in the participant's database, and whichever instance finds the step
 * unanswered repeats the call.
 */

import type { SinkBinding } from '../../binder/bindings/declarations.ts'
import { type Channel, requireChannel } from '../../binder/channel/channel.ts'
import type { EncodedMessage } from '../../binder/channel/message.ts'
import { type Backoff, type BackoffOptions, resolveBackoff } from '../../core/backoff.ts'
import { SECOND } from '../../core/clock.ts'
import { invalidOption, requireInteger } from '../../core/errors.ts'
import { optionNames, refuseUnknown } from '../../core/option-checks.ts'
import { RUNTIME_NAMES, type RuntimeOptions, resolveRuntime } from '../../core/runtime-options.ts'
import { unlessAborted } from '../../core/time-limit.ts'
import { describeError } from '../coordinator/outcome-to-event.ts'
import { SagaError } from '../errors.ts'
import { declaredParticipant } from '../participant/binding.ts'
import { stepOf } from '../participant/unanswered-handler-calls.ts'
import type { SagaReply } from '../wire/reply.ts'
import { ASKED_NAMES, type AskedOptions, AskedParticipant } from './asked-participant.ts'
import type { DirectAnswer, DirectAsking, DirectRequest, DirectTarget } from './target.ts'

/** Options of `localTarget`. Functions of the participant log to its `logger`, too. */
export interface LocalTargetOptions extends AskedOptions, RuntimeOptions {
  /** Maximum number of concurrent calls of this process; further calls queue. @default 64 */
  readonly concurrency?: number | undefined
  /** Pauses between calls while the participant's database does not answer. @default 200 ms, doubled, at most 10 s, half of it random */
  readonly retry?: BackoffOptions | undefined
}

const NAMES = optionNames<LocalTargetOptions>({
  ...ASKED_NAMES,
  concurrency: true,
  retry: true,
  ...RUNTIME_NAMES,
})
const RETRY: Backoff = { initialMs: 200, factor: 2, maxMs: 10 * SECOND, jitter: 0.5 }
const CONCURRENCY = 64

/**
 * Creates a target that calls a participant within this process: `to: localTarget(bankCommands, bank, { sql: bankSql })`, where
 * `bank` is the result of `participant`, `tccParticipant`, `xaParticipant` or `undoParticipant`. It needs no binder, outbox or
 * relay of the participant, and costs a fraction of a command by message. Any instance that loads the definition may have to
 * settle calls that another one began, so each needs access to the participant's database.
 * @throws TypeError / RangeError naming the option
 */
export function localTarget<In, Out>(
  channel: Channel<In, Out>,
  participant: SinkBinding,
  options: LocalTargetOptions = {},
): DirectTarget<In> {
  const { name } = requireChannel('localTarget', channel)
  const path = `localTarget("${name}")`
  refuseUnknown(path, options, NAMES)
  const declared = declaredParticipant(participant)
  if (declared === undefined) {
    throw invalidOption(`${path}.participant`, participant, 'what tccParticipant or another of its kind returned')
  }
  if (declared.channel.name !== name) {
    throw new TypeError(
      `${path}.participant: it was declared on the channel "${declared.channel.name}", give that channel`,
    )
  }
  const concurrency = requireInteger(`${path}.concurrency`, options.concurrency ?? CONCURRENCY, 1, 10_000)
  const asked = new AskedParticipant(declared, options, {
    path,
    position: 'local',
    concurrency,
    mayShare: true,
    ...resolveRuntime(path, options),
  })
  const calls = new Calls(asked, concurrency)
  const asking: DirectAsking = {
    concurrency,
    retry: resolveBackoff(`${path}.retry`, options.retry, RETRY),
    ask: (request, _, signal) => calls.ask(request, signal),
    ready: () => asked.ready(),
    settled: () => calls.settled(),
    prepares: asked.prepares,
  }
  return Object.freeze({ channel: channel as unknown as Channel<In, unknown>, asking: Object.freeze(asking) })
}

/** Running calls, including abandoned ones, because a user's function may ignore its signal. */
class Calls {
  readonly #participant: AskedParticipant
  readonly #most: number
  /** Running calls by step. */
  readonly #atWork = new Map<string, Promise<unknown>>()

  constructor(participant: AskedParticipant, most: number) {
    this.#participant = participant
    this.#most = most
  }

  async ask({ message, command }: DirectRequest, signal: AbortSignal): Promise<DirectAnswer> {
    const step = stepOf(command)
    try {
      // A second call would wait for the row of the first one, and hold another connection.
      for (let call = this.#atWork.get(step); call !== undefined; call = this.#atWork.get(step)) {
        await unlessAborted(signal, call)
      }
      if (this.#atWork.size >= this.#most)
        throw new SagaError('saga.local_busy', { channel: message.destination, calls: this.#most })
      return { reply: await unlessAborted(signal, this.#call(step, message, signal)) }
    } catch (error) {
      return { again: describeError(error) }
    }
  }

  #call(step: string, message: EncodedMessage, signal: AbortSignal): Promise<SagaReply> {
    const call = this.#participant.answer(message, signal)
    const ended = call.then(noop, noop).finally(() => this.#atWork.delete(step))
    this.#atWork.set(step, ended)
    return call
  }

  /** Resolves when no call is running. */
  async settled(): Promise<void> {
    await Promise.all(this.#atWork.values())
  }
}

function noop(): void {}
