import type { Logger } from 'concordat/core'

/** Logger that keeps its arguments unchanged. */
export function memoryLogger(): { readonly logger: Logger; readonly lines: unknown[][] } {
  const lines: unknown[][] = []
  const log = (...line: unknown[]): void => void lines.push(line)
  return { logger: { debug: log, info: log, warn: log, error: log }, lines }
}
