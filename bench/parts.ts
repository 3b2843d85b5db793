/** Error for an unknown part: without it a typing mistake would silently measure nothing. */
export class UnknownPart extends Error {}

/**
 * Selects the parts of a suite to run. Call it before anything is started.
 * @param only what the command line names; empty: all
 * @throws UnknownPart
 */
export function wantedParts(only: readonly string[], parts: readonly string[]): (part: string) => boolean {
  const unknown = only.find((name) => !parts.includes(name))
  if (unknown !== undefined) throw new UnknownPart(`--only: there is no part "${unknown}", only ${parts.join(', ')}`)
  return (part) => only.length === 0 || only.includes(part)
}
