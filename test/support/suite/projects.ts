/**
 * Which project of `vitest.config.ts` a test file belongs to: told by its name and by what it and its helpers import, so
 * that no list has to be kept.
 */
import { globSync, readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'

/**
 * - `int`: `*.int.test.ts`, needs a real server.
 * - `prop`: `*.prop.test.ts`, takes random inputs.
 * - `local`: opens a database in its process (PGlite), starts processes, measures the memory of its own, or compiles the
 *   whole package.
 * - `unit`: the rest, which needs nothing but its process.
 */
export type SuiteProject = 'unit' | 'prop' | 'local' | 'int'

/** One of these, in the file or in a helper that it imports, makes a file `local`. */
const HEAVY =
  /(?:from|import)\s*\(?'(?:node:child_process|@electric-sql\/pglite|concordat\/embedded|[^']*scripts\/api\/reference\.ts)'|process\.memoryUsage\(/
const RELATIVE = /(?:from|import)\s*\(?'(\.[^']+)'/g

/** @param files paths from the root of the repository. @default every test file */
export function filesOf(project: SuiteProject, files: readonly string[] = globSync('test/**/*.test.ts')): string[] {
  const isHeavy = heaviness()
  return files.map((file) => file.replaceAll('\\', '/')).filter((file) => projectOf(file, isHeavy) === project)
}

function projectOf(file: string, isHeavy: (file: string) => boolean): SuiteProject {
  if (file.endsWith('.int.test.ts')) return 'int'
  if (file.endsWith('.prop.test.ts')) return 'prop'
  return isHeavy(file) ? 'local' : 'unit'
}

/** Follows the imports from file to file inside `test/`, each file read once. */
function heaviness(): (file: string) => boolean {
  const known = new Map<string, boolean>()
  const isHeavy = (file: string): boolean => {
    const before = known.get(file)
    if (before !== undefined) return before
    known.set(file, false)
    const text = readFileSync(file, 'utf8')
    const heavy = HEAVY.test(text) || helpersOf(file, text).some(isHeavy)
    known.set(file, heavy)
    return heavy
  }
  return isHeavy
}

function helpersOf(file: string, text: string): readonly string[] {
  return Array.from(text.matchAll(RELATIVE), ([, target = '']) => join(dirname(file), target)).filter(
    (target) => target.startsWith('test/') && target.endsWith('.ts'),
  )
}
