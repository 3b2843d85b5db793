/** Suggestions for mistyped words. */

/** Counts letters that are wrong, missing, extra or swapped. */
const MAX_SLIPS = 2

/**
 * @returns words that begin with `said`, or the nearest ones with at most two such differences; none if no word is similar
 */
export function nearest(said: string, words: readonly string[]): readonly string[] {
  if (said.length > 40) return []
  const begun = said.length < 2 ? [] : words.filter((word) => word.startsWith(said))
  if (begun.length > 0) return begun
  const measured = words.map((word) => ({ word, slips: slipsBetween(said, word) }))
  const least = Math.min(...measured.map(({ slips }) => slips))
  if (least > Math.min(MAX_SLIPS, Math.ceil(said.length / 2))) return []
  return measured.filter(({ slips }) => slips === least).map(({ word }) => word)
}

/** Optimal string alignment. */
function slipsBetween(a: string, b: string): number {
  let [older, before]: readonly [number[], number[]] = [[], Array.from({ length: b.length + 1 }, (_, n) => n)]
  for (let i = 1; i <= a.length; i++) {
    const row = [i]
    for (let j = 1; j <= b.length; j++) {
      const differs = a[i - 1] === b[j - 1] ? 0 : 1
      const swapped = i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1]
      const ways = [at(before, j) + 1, at(row, j - 1) + 1, at(before, j - 1) + differs]
      row.push(Math.min(...ways, ...(swapped ? [at(older, j - 2) + 1] : [])))
    }
    ;[older, before] = [before, row]
  }
  return at(before, b.length)
}

const at = (row: readonly number[], n: number): number => row[n] ?? Number.POSITIVE_INFINITY

/** `did you mean "a" or "b"?`, or `expected "a", "b", or "c"`. */
export function meant(said: string, words: readonly string[], quoted = (word: string): string => `"${word}"`): string {
  const near = nearest(said, words)
  const list = new Intl.ListFormat('en', { type: 'disjunction' })
  return near.length > 0
    ? `did you mean ${list.format(near.map(quoted))}?`
    : `expected ${list.format(words.map(quoted))}`
}
