/**
 * An error of ioredis contains its command with all arguments: a password (`auth`), or data. Errors are logged and become causes,
 * so the arguments are removed from each of them first.
 */
import { said } from '../errors.ts'

/** The arguments that a server without the command, or some proxies, repeat in the message. */
const REPEATED = /,?\s*with args beginning with:[^]*$/

const MAX_DEPTH = 8

/** The same value; errors in it keep the name of their command without its arguments. Never throws. */
export function redactCommandArguments<T>(failure: T, depth = 0): T {
  if (!(failure instanceof Error) || depth > MAX_DEPTH) return failure
  const error = failure as Error & Readonly<Record<string, unknown>>
  const { command } = error
  if (typeof command === 'object' && command !== null) {
    overwrite(error, 'command', { name: (command as { readonly name?: unknown }).name })
  }
  if ('args' in error) overwrite(error, 'args', undefined)
  const message = said(error, 'message')
  const short = message.replace(REPEATED, '')
  if (short !== message) {
    const stack = said(error, 'stack')
    overwrite(error, 'message', short)
    overwrite(
      error,
      'stack',
      stack.replace(message, () => short),
    )
  }
  // A cluster client wraps the error of the last of its nodes.
  for (const inner of [error['lastNodeError'], error.cause]) redactCommandArguments(inner, depth + 1)
  const several = [error['previousErrors'], error['errors']].flatMap((list) => (Array.isArray(list) ? list : []))
  for (const inner of several) redactCommandArguments(inner, depth + 1)
  return failure
}

function overwrite(error: Error, field: string, value: unknown): void {
  Object.defineProperty(error, field, {
    value,
    configurable: true,
    writable: true,
    enumerable: field === 'command',
  })
}
