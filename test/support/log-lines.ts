import type { Logger } from 'concordat/core'

export interface LogLine {
  readonly message: string
  readonly fields: object
}

/** Logger that keeps all lines of every level. */
export class LogLines {
  readonly lines: LogLine[] = []
  readonly logger: Logger

  constructor() {
    const keep = (fields: object, message: string): void => void this.lines.push({ message, fields })
    this.logger = { debug: keep, info: keep, warn: keep, error: keep }
  }

  /** The whole content of the lines: errors with their causes and own fields, bytes as text. */
  get text(): string {
    return textOf(this.lines, new Set())
  }
}

function textOf(value: unknown, seen: Set<object>): string {
  if (value instanceof Uint8Array) return Buffer.from(value).toString()
  if (typeof value !== 'object' || value === null) return String(value)
  if (seen.has(value)) return ''
  seen.add(value)
  const own = Object.getOwnPropertyNames(value).map((name) => `${name}: ${textOf(Reflect.get(value, name), seen)}`)
  return own.join('\n')
}
