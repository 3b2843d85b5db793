/**
 * Headers from the context of the sending code, not from its arguments: the lock that it holds, the trace that it is part of.
 * Read once per message, when it is created; headers given with the message take precedence.
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

/** Called synchronously in the context of the sender; the sender receives its errors as a `SendError`. */
export type AmbientHeaders = () => Headers | undefined

/** @throws TypeError naming the option */
export function checkAmbient(path: string, ambient: unknown): AmbientHeaders | undefined {
  if (ambient === undefined || typeof ambient === 'function') return ambient as AmbientHeaders | undefined
  throw invalidOption(path, ambient, 'a function that returns headers, such as () => leaseHeaders()')
}

/** Adds the headers of the caller's context to the options. @throws SendError when they cannot be obtained */
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

/** Refuses a promise: it has no own fields, so an async function would silently add nothing. */
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
 * Calls a handler whose result is sent. Its payload may come from an inner context, as in `return locks.using(...)`: such a
 * payload is sent with that context's headers, although the context has ended by then. Other payloads are sent with the headers
 * of the handler's context.
 * @param payloadsOf payloads in a value that left a context
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

/** Returns the outputs in a handler's result. */
export function outputsIn(value: unknown): readonly unknown[] {
  return value instanceof Outputs ? value.payloads : [value]
}

/** Returns the value that left the context, before it got an address or headers. */
function madeOf(output: unknown): unknown {
  return output instanceof Addressed ? output.payload : output
}

/** A handler that takes locks in a long loop must not keep every value alive. */
const MAX_REMEMBERED = 1_000

function remember(handedOut: Map<unknown, AmbientHeaders>, payload: unknown, headers: AmbientHeaders): void {
  if (payload === undefined) return
  handedOut.delete(payload)
  handedOut.set(payload, headers)
  if (handedOut.size > MAX_REMEMBERED) handedOut.delete(handedOut.keys().next().value)
}

/** Reads the headers now, for later use; also keeps an error. */
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
