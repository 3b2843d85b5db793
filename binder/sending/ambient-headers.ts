/**
 * Headers that come from around the code that sends, not from its arguments: the lock it holds, the trace it is part of.
 * Asked once per message, where it is made; headers given with the message win over them.
 */

import { watchHandedOut } from '../../core/async-contexts.ts'
import { invalidOption, toError } from '../../core/errors.ts'
import { newId } from '../../core/ids.ts'
import { isThenable, wrongKind } from '../../core/option-checks.ts'
import { notAwaited } from '../../core/unawaited-callbacks.ts'
import { Addressed, Outputs } from '../bindings/outputs.ts'
import type { Headers } from '../channel/message.ts'
import type { SendOptions } from '../channel/message-codec.ts'
import { SendError } from '../errors.ts'

/** Called synchronously in the context of the sender; what it throws is the sender's `SendError`. */
export type AmbientHeaders = () => Headers | undefined

/** @throws TypeError naming the option */
export function checkAmbient(path: string, ambient: unknown): AmbientHeaders | undefined {
  if (ambient === undefined || typeof ambient === 'function') return ambient as AmbientHeaders | undefined
  throw invalidOption(path, ambient, 'a function that returns headers, such as () => leaseHeaders()')
}

/** The options with the headers around the caller among them. @throws SendError when they cannot be had */
export function withAmbient(
  ambient: AmbientHeaders | undefined,
  destination: string,
  options?: SendOptions,
): SendOptions | undefined {
  if (ambient === undefined) return options
  let headers: Headers | undefined
  try {
    headers = requireHeaders(notAwaited(ambient()))
  } catch (error) {
    throw new SendError(destination, options?.id ?? newId(), toError(error))
  }
  return headers === undefined ? options : { ...options, headers: { ...headers, ...options?.headers } }
}

/** A promise has no names of its own: an async function would add nothing, in silence. */
function requireHeaders(headers: unknown): Headers | undefined {
  if (headers === undefined) return undefined
  if (typeof headers === 'object' && headers !== null && !isThenable(headers)) return headers as Headers
  throw wrongKind('the headers option', headers, 'a function that returns an object of headers, or undefined')
}

/** Result of a handler or a poll, with the ambient headers of each payload at its creation. */
export interface HandlerResult {
  readonly value: unknown
  readonly ambientOf: (payload: unknown) => AmbientHeaders | undefined
}

/**
 * Calls a handler whose result is sent. The handler may get its payload from an inner context, as in
 * `return locks.using(...)`: such a payload is sent with that context's headers, although it has ended by then. Any other
 * payload is sent with the headers around the handler.
 * @param payloadsOf what is sent of a value that came out of a context
 */
export async function callKeepingHeaders(
  ambient: AmbientHeaders | undefined,
  handler: () => unknown,
  payloadsOf: (given: unknown) => readonly unknown[] = outputsIn,
): Promise<HandlerResult> {
  if (ambient === undefined) return { value: await handler(), ambientOf: () => undefined }
  const handedOut = new Map<unknown, AmbientHeaders>()
  const value = await watchHandedOut((given) => {
    const headers = snapshot(ambient)
    for (const payload of payloadsOf(given)) remember(handedOut, madeOf(payload), headers)
  }, handler)
  return { value, ambientOf: (payload) => handedOut.get(madeOf(payload)) ?? ambient }
}

/** Outputs in a handler's result. */
export function outputsIn(value: unknown): readonly unknown[] {
  return value instanceof Outputs ? value.payloads : [value]
}

/** The value that left the context, before it got an address or headers. */
function madeOf(output: unknown): unknown {
  return output instanceof Addressed ? output.payload : output
}

/** A handler that takes locks in a long loop does not keep every value alive. */
const MAX_REMEMBERED = 1_000

function remember(handedOut: Map<unknown, AmbientHeaders>, payload: unknown, headers: AmbientHeaders): void {
  if (payload === undefined) return
  handedOut.delete(payload)
  handedOut.set(payload, headers)
  if (handedOut.size > MAX_REMEMBERED) handedOut.delete(handedOut.keys().next().value)
}

/** The headers of now, for later; an error as well. */
function snapshot(ambient: AmbientHeaders): AmbientHeaders {
  try {
    const headers = notAwaited(ambient())
    return () => headers
  } catch (error) {
    return () => {
      throw toError(error)
    }
  }
}
