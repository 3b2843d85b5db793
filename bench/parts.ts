/** A part that was asked for and does not exist: without this a slip of the keyboard would measure nothing, in silence. */
export class UnknownPart extends Error {}

/**
 * Which of its parts a suite has to run. Ask before anything is started.
 * @param only what the command line names; empty: all
 * @throws UnknownPart
 */
export function wantedParts(only: readonly string[], parts: readonly string[]): (part: string) => boolean {
  const unknown = only.find((name) => !parts.includes(name))
  if (unknown !== undefined) throw new UnknownPart(`--only: there is no part "${unknown}", only ${parts.join(', ')}`)
  return (part) => only.length === 0 || only.includes(part)
}
