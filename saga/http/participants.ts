/**
 * Participants over HTTP, with the declarations, the fence and the replies of participants on a broker. A request is a command,
 * and its response is the reply, sent after the commit that contains it. If the response is lost, the coordinator repeats the
 * request, and the fence returns the same reply.
 *
 * @see docs/reference/wire-format.md, "Participants over HTTP"
 */
import type { SinkBinding } from '../../binder/bindings/declarations.ts'
import type { EncodedMessage } from '../../binder/channel/message.ts'
import { SECOND } from '../../core/clock.ts'
import { invalidOption, requireInteger } from '../../core/errors.ts'
import type { FetchHandler } from '../../core/node-http-adapter.ts'
import { optionNames, refuseUnknown } from '../../core/option-checks.ts'
import { RUNTIME_NAMES, type RuntimeOptions, resolveRuntime } from '../../core/runtime-options.ts'
import { ASKED_NAMES, type AskedBy, type AskedOptions, AskedParticipant } from '../direct/asked-participant.ts'
import { declaredParticipant } from '../participant/binding.ts'
import { type CommandHeaders, REPLIES, readCommandHeaders } from '../wire/wire.ts'
import { type HttpAuthorize, HttpProblemError, json, requireAuthorize, serve } from './guard-http-requests.ts'
import { commandHeadersOf, messageOf } from './headers.ts'

/** The command that a request claims to be. */
export interface AskedCommand extends Pick<CommandHeaders, 'saga' | 'sagaId' | 'step' | 'operation'> {
  /** The channel's name. */
  readonly channel: string
  /** Service of the coordinator whose saga the command belongs to. Allow each caller only its own service. */
  readonly service: string
}

/** Options of `httpParticipants`. */
export interface HttpParticipantsOptions extends AskedOptions, RuntimeOptions {
  /** Authorizes callers for the service in whose name they act. There is no default: write `'none'` explicitly. */
  readonly authorize: HttpAuthorize<AskedCommand>
  /** Maximum size of a request; a larger one is answered 413. @default 1 MiB */
  readonly maxRequestBytes?: number | undefined
  /**
   * Time limit of a request. After it the handler's signal aborts and the response is 503. If the handler commits all the same,
   * the repeated request returns its result. @default 30 seconds
   */
  readonly timeoutMs?: number | undefined
  /**
   * Maximum number of concurrent requests; further ones are answered 503 with `retry-after`. Each may hold a connection of the
   * pool. @default 64
   */
  readonly concurrency?: number | undefined
}

const NAMES = optionNames<HttpParticipantsOptions>({
  authorize: true,
  ...ASKED_NAMES,
  maxRequestBytes: true,
  timeoutMs: true,
  concurrency: true,
  ...RUNTIME_NAMES,
})
const DEFAULTS = Object.freeze({ maxRequestBytes: 1_024 * 1_024, timeoutMs: 30 * SECOND, concurrency: 64 })
const MAX_BYTES = 64 * 1_024 * 1_024

/**
 * Creates a Fetch handler for participants, declared with `participant`, `tccParticipant`, `xaParticipant` and `undoParticipant`
 * as for a binder. The request's `ce-type` names the channel, and so the participant.
 * @throws TypeError / RangeError naming the option
 */
export function httpParticipants(participants: readonly SinkBinding[], options: HttpParticipantsOptions): FetchHandler {
  const path = 'httpParticipants'
  refuseUnknown(path, options, NAMES)
  const { clock, logger } = resolveRuntime(path, options)
  const integer = (name: keyof typeof DEFAULTS, max: number): number =>
    requireInteger(`${path}.${name}`, options[name] ?? DEFAULTS[name], 1, max)
  const concurrency = integer('concurrency', 100_000)
  const by = { path, position: 'http', concurrency, mayShare: false, clock, logger }
  const sides = sidesOf(participants, options, by)
  return serve<Command>({
    authorize: requireAuthorize(path, options.authorize),
    maxRequestBytes: integer('maxRequestBytes', MAX_BYTES),
    timeoutMs: integer('timeoutMs', 2 ** 31 - 1),
    concurrency,
    clock,
    logger,
    read: (request) => readCommand(request, sides),
    answer: async ({ side, message }, body, signal) => json(200, await side.answer({ ...message, body }, signal)),
  })
}

/** A received command, without its body. */
interface Command extends AskedCommand {
  readonly side: AskedParticipant
  readonly message: Omit<EncodedMessage, 'body'>
}

function readCommand({ headers }: Request, sides: ReadonlyMap<string, AskedParticipant>): Command {
  const message = messageOf(headers, '')
  const named = headers.get('ce-type')
  const [only] = sides.size === 1 ? sides.keys() : []
  const channel = named === null ? (only ?? '') : message.type
  const side = sides.get(channel)
  if (side === undefined) throw new HttpProblemError(404, 'saga.http_no_participant', 'ce-type names no participant')
  const command = readCommandHeaders(commandHeadersOf(headers))
  if (command === undefined || !isPlausible(command))
    throw new HttpProblemError(400, 'saga.http_no_command', 'its saga-* headers are missing or wrong')
  const { saga, sagaId, step, operation, replyTo } = command
  const service = replyTo.slice(0, -REPLIES.length)
  return { channel, service, saga, sagaId, step, operation, side, message: { ...message, destination: channel } }
}

const NAME = /^[A-Za-z0-9._[\]-]{1,200}$/
// oxlint-disable-next-line no-control-regex -- control characters are what is looked for
const CONTROL = /[\u0000-\u001f\u007f]/

/** Checks that a coordinator could have written the command: its key is part of the fence, and must not name another step. */
function isPlausible({ saga, sagaId, step, key, replyTo, birth }: CommandHeaders): boolean {
  const named = NAME.test(saga) && NAME.test(step) && NAME.test(replyTo) && replyTo.endsWith(REPLIES)
  const isShort = sagaId.length <= 200 && (birth === '' || NAME.test(birth))
  return named && isShort && !CONTROL.test(sagaId) && key === `${saga}/${sagaId}/${step}`
}

function sidesOf(
  participants: readonly SinkBinding[],
  options: HttpParticipantsOptions,
  by: AskedBy,
): ReadonlyMap<string, AskedParticipant> {
  const { path } = by
  if (!Array.isArray(participants) || participants.length === 0)
    throw invalidOption(`${path}.participants`, participants, 'a list of participants')
  const sides = new Map<string, AskedParticipant>()
  for (const [index, binding] of (participants as readonly SinkBinding[]).entries()) {
    const declared = declaredParticipant(binding)
    if (declared === undefined)
      throw invalidOption(
        `${path}.participants[${index}]`,
        binding,
        'what tccParticipant or another of its kind returned',
      )
    const { name } = declared.channel
    if (sides.has(name)) throw new TypeError(`${path}.participants: two are asked by "${name}", remove one of them`)
    sides.set(name, new AskedParticipant(declared, options, { ...by, path: `${path}("${name}")` }))
  }
  return sides
}
