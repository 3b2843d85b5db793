/** Follows the imports of test files inside `test/`. */
import { existsSync, readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'

const RELATIVE = /(?:from|import)\s*\(?'(\.[^']+)'/g

/** Says of a file whether the sign is on it, or on a file that it imports directly or indirectly. Each file is read once. */
export function importing(sign: (file: string, text: string) => boolean): (file: string) => boolean {
  const known = new Map<string, boolean>()
  const isOn = (file: string): boolean => {
    const before = known.get(file)
    if (before !== undefined) return before
    known.set(file, false)
    const text = readFileSync(file, 'utf8')
    const found = sign(file, text) || importsOf(file, text).some(isOn)
    known.set(file, found)
    return found
  }
  return isOn
}

/** A program in a string of a test may import a file that does not exist. */
function importsOf(file: string, text: string): readonly string[] {
  return Array.from(text.matchAll(RELATIVE), ([, target = '']) => join(dirname(file), target)).filter(
    (target) => target.startsWith('test/') && target.endsWith('.ts') && existsSync(target),
  )
}
