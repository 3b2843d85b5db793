/** The `code` of one of our errors, else an empty text. */
export function codeOf(error: unknown): string {
  return error instanceof Error && 'code' in error ? String(error.code) : ''
}

/** Code and message, for a history. */
export function describe(error: unknown): string {
  return error instanceof Error ? `${codeOf(error)} ${error.message}`.trim() : String(error as string)
}

/** An error on one line, with all that is inside of it: of `Promise.any` every reason, of others the cause. */
export function told(error: unknown): string {
  const line = describe(error).replaceAll(/\s*\n\s*/g, ' ')
  if (error instanceof AggregateError) return `${line} [${error.errors.map(told).join('; ')}]`
  if (!(error instanceof Error) || error.cause === undefined) return line
  const cause = told(error.cause)
  return line.includes(cause) ? line : `${line}, because of: ${cause}`
}
