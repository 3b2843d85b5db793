import type { Logger } from 'concordat/core'

/** A logger that keeps what it is given, as it was given. */
export function memoryLogger(): { readonly logger: Logger; readonly lines: unknown[][] } {
  const lines: unknown[][] = []
  const log = (...line: unknown[]): void => void lines.push(line)
  return { logger: { debug: log, info: log, warn: log, error: log }, lines }
}
