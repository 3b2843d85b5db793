import { inspect } from 'node:util'
import type { Logger } from 'concordat/core'
import { pino, stdSerializers } from 'pino'

/** Everything that a program can show of its inputs: pino's lines with all causes, and deep inspection. */
export interface Witness {
  readonly logger: Logger
  /** Shows a value, an error for example, in every way there is. */
  readonly keep: (value: unknown) => void
  readonly shown: () => string
}

export function witness(): Witness {
  const shown: string[] = []
  const keep = (value: unknown): void => {
    shown.push(inspect(value, { depth: 20, showHidden: true }))
    if (value instanceof Error) shown.push(JSON.stringify(stdSerializers.errWithCause(value)))
  }
  const sink = { write: (line: string) => void shown.push(line) }
  const lines = pino({ level: 'trace', serializers: { err: stdSerializers.errWithCause } }, sink)
  const plain = pino({ level: 'trace' }, sink)
  const tee =
    (level: 'debug' | 'info' | 'warn' | 'error') =>
    (fields: object, message: string): void => {
      lines[level](fields, message)
      plain[level](fields, message)
      keep(fields)
    }
  const logger = { debug: tee('debug'), info: tee('info'), warn: tee('warn'), error: tee('error') }
  return { logger, keep, shown: () => shown.join('\n') }
}
