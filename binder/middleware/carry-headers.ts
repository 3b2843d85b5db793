import { requireText } from '../../core/errors.ts'
import type { Headers, HeaderValue } from '../message.ts'
import { Addressed, Outputs } from '../outputs.ts'
import type { Middleware } from './middleware.ts'

/**
 * Gives these headers of the input, where it has them, to every output of a processor: `carryHeaders('tenant')`. Outputs
 * carry none of them otherwise. A header given with `to` wins.
 * @throws TypeError when a name is no text
 */
export function carryHeaders(...names: readonly string[]): Middleware {
  for (const name of names) requireText('carryHeaders', name)
  return (next, { kind }) => {
    if (kind === 'sink') return next
    return async (payload, context) => {
      const result = await next(payload, context)
      const headers = pick(context.headers, names)
      if (result === undefined || headers === undefined) return result
      if (!(result instanceof Outputs)) return carried(result, headers)
      return new Outputs(result.payloads.map((output) => carried(output, headers)))
    }
  }
}

function pick(from: Headers, names: readonly string[]): Headers | undefined {
  const found: Array<[string, HeaderValue]> = []
  for (const name of names) {
    const value = Object.hasOwn(from, name) ? from[name] : undefined
    if (value !== undefined) found.push([name, value])
  }
  return found.length === 0 ? undefined : Object.fromEntries(found)
}

function carried(output: unknown, headers: Headers): Addressed<unknown> {
  if (!(output instanceof Addressed)) return new Addressed(undefined, output, { headers })
  return new Addressed(output.channel, output.payload, {
    ...output.options,
    headers: { ...headers, ...output.options.headers },
  })
}
