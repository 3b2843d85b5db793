/** Follows the imports of test files inside `test/`. */
import { existsSync, readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'

const RELATIVE = /(?:from|import)\s*\(?'(\.[^']+)'/g

interface TestFile {
  readonly text: string
  /** Files in `test/` that it imports itself. */
  readonly imports: readonly string[]
}

/** Each file is read once per process. */
const read = new Map<string, TestFile>()

function testFile(path: string): TestFile {
  const before = read.get(path)
  if (before !== undefined) return before
  const text = readFileSync(path, 'utf8')
  const file = { text, imports: importsOf(path, text) }
  read.set(path, file)
  return file
}

/** The file, and all files that it imports directly or indirectly. */
export function reachedBy(path: string): ReadonlySet<string> {
  const found = new Set([path])
  for (const each of found) testFile(each).imports.forEach((target) => found.add(target))
  return found
}

/** Says of a file whether the sign is on it, or on a file that it imports directly or indirectly. */
export function importing(sign: (file: string, text: string) => boolean): (file: string) => boolean {
  return (path) => [...reachedBy(path)].some((file) => sign(file, testFile(file).text))
}

/** A program in a string of a test may import a file that does not exist. */
function importsOf(file: string, text: string): readonly string[] {
  return Array.from(text.matchAll(RELATIVE), ([, target = '']) => join(dirname(file), target)).filter(
    (target) => target.startsWith('test/') && target.endsWith('.ts') && existsSync(target),
  )
}
