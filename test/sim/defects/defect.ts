/** A defect that the package once had: found by reading in November 2026, fixed since, and put back here one at a time. */
export type Defect = PlayedDefect | UnplayedDefect

/** Put back by patches of the sources of today, and found by a workload. */
export interface PlayedDefect {
  readonly about: string
  readonly patches: readonly Patch[]
  readonly workload: string
}

/** A defect that no workload can show. */
export interface UnplayedDefect {
  readonly about: string
  /** Why it is not. */
  readonly notPlayed: string
  /** The test that fails instead; `undefined` where only reading the file shows it. */
  readonly test: string
}

/** Text of a source that is replaced while it is loaded: the file stays unchanged. */
export interface Patch {
  readonly file: string
  /** The exact text, which occurs once. */
  readonly find: string
  readonly put: string
}

export const isPlayed = (defect: Defect): defect is PlayedDefect => 'patches' in defect

/**
 * @throws Error when the text does not occur exactly once: the code has moved, so the defect would not be planted
 */
export function patched(source: string, { file, find, put }: Patch): string {
  const times = source.split(find).length - 1
  if (times !== 1) throw new Error(`${file} has the text ${times} times that a defect replaces:\n${find}`)
  return source.replace(find, () => put)
}
