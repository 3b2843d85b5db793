import { requireText } from '../../core/errors.ts'
import { produced } from '../bindings/batch-bindings.ts'
import { Discarded } from '../bindings/discarded-result.ts'
import { type BatchOutcome } from '../bindings/handler-types.ts'
import { Addressed, Outputs } from '../bindings/outputs.ts'
import { pickHeaders } from '../channel/header-type-hints.ts'
import type { Headers } from '../channel/message.ts'
import { type BatchMiddleware, forEither } from './batch-middleware.ts'
import type { Middleware } from './middleware.ts'

/**
 * Copies these headers of the input, if present, to every output of a processor: `carryHeaders('tenant')`. Outputs have none of
 * them otherwise. A header given with `to` takes precedence. In a batch each output gets those of its own message. The types of
 * these headers in another program's message (`spring_json_header_types`, `amqp-types`) are copied, too.
 * @throws TypeError when a name is not a text
 */
export function carryHeaders(...names: readonly string[]): Middleware & BatchMiddleware {
  for (const name of names) requireText('carryHeaders', name)
  return forEither(
    (next, { kind }) => {
      if (kind === 'sink') return next
      return async (payload, context) => carriedAll(await next(payload, context), pick(context.headers, names))
    },
    (next, { kind }) => {
      if (kind === 'sinkBatch') return next
      return async (items, context) =>
        (await next(items, context))?.map((outcome, i): BatchOutcome => {
          if (outcome.status === 'rejected') return outcome
          return produced(carriedAll(outcome.value, pick(items[i]?.context.headers ?? {}, names)))
        })
    },
  )
}

function carriedAll(result: unknown, headers: Headers | undefined): unknown {
  if (result === undefined || headers === undefined || result instanceof Discarded) return result
  if (!(result instanceof Outputs)) return carried(result, headers)
  return new Outputs(result.payloads.map((output) => carried(output, headers)))
}

function pick(from: Headers, names: readonly string[]): Headers | undefined {
  const picked = pickHeaders(from, (name) => names.includes(name))
  return Object.keys(picked).length === 0 ? undefined : picked
}

function carried(output: unknown, headers: Headers): Addressed<unknown> {
  if (!(output instanceof Addressed)) return new Addressed(undefined, output, { headers })
  const given = output.options.headers ?? {}
  return new Addressed(output.channel, output.payload, {
    ...output.options,
    headers: { ...pickHeaders(headers, (name) => !Object.hasOwn(given, name)), ...given },
  })
}
