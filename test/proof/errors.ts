import { inspect } from 'node:util'

/** Error in the arguments of a run: nothing was started. Exit code 2. */
export class UsageError extends Error {
  readonly code = 'proof.usage' as const
  /** Name of the option or the file. */
  readonly path: string
  readonly value: unknown
  readonly remedy: string

  constructor(path: string, value: unknown, remedy: string) {
    super(`${path}: got ${shown(value)}. ${remedy}`)
    this.name = 'UsageError'
    this.path = path
    this.value = value
    this.remedy = remedy
  }
}

function shown(value: unknown): string {
  if (value === undefined) return 'nothing'
  return typeof value === 'string' ? JSON.stringify(value) : inspect(value, { depth: 1 })
}
