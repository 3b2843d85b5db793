/**
 * Project of `vitest.config.ts` that a test file belongs to: derived from its name and its imports, so that no list is
 * needed.
 */
import { globSync } from 'node:fs'
import { importing } from './imports.ts'

/**
 * - `browser`: `*.browser.test.ts`, opens pages in Chromium.
 * - `int`: `*.int.test.ts`, needs a real server.
 * - `release`: `*.release.test.ts`, needs real servers and takes long: `npm run test:release`, before a release.
 * - `engine`: `*.engine.test.ts`, needs a Docker engine with the images of compose.yaml: `scripts/engine/run.sh`.
 * - `prop`: `*.prop.test.ts`, takes random inputs.
 * - `pglite`: opens databases in its process.
 * - `local`: starts processes, measures the memory of its own, installs packages, or opens databases on disk.
 * - `unit`: the rest, which needs nothing but its process.
 */
export type SuiteProject = 'unit' | 'prop' | 'pglite' | 'local' | 'int' | 'release' | 'engine' | 'browser'

/** Imports that make a file `local`, in the file or in a helper that it imports. */
const APART =
  /(?:from|import)\s*\(?'(?:node:child_process|concordat\/embedded|[^']*suite\/packages\.ts)'|process\.memoryUsage\(/
/** Starts processes, but only once a limit of a test was exceeded. */
const AFTER_A_LIMIT = 'test/support/slowness.ts'
/** Import that makes a file `pglite`, when it is not `local`. */
const DATABASE = /(?:from|import)\s*\(?'@electric-sql\/pglite'/

/** Says whether a file, or a helper that it imports, imports PGlite. */
export const usesPglite: (file: string) => boolean = importing((_file, text) => DATABASE.test(text))

/** @param files paths from the root of the repository. @default every test file */
export function filesOf(project: SuiteProject, files: readonly string[] = globSync('test/**/*.test.ts')): string[] {
  const uses = {
    apart: importing((file, text) => file !== AFTER_A_LIMIT && APART.test(text)),
    database: usesPglite,
  }
  return files.map((file) => file.replaceAll('\\', '/')).filter((file) => projectOf(file, uses) === project)
}

type Uses = Readonly<Record<'apart' | 'database', (file: string) => boolean>>

function projectOf(file: string, uses: Uses): SuiteProject {
  if (file.endsWith('.int.test.ts')) return 'int'
  if (file.endsWith('.release.test.ts')) return 'release'
  if (file.endsWith('.engine.test.ts')) return 'engine'
  if (file.endsWith('.browser.test.ts')) return 'browser'
  if (file.endsWith('.prop.test.ts')) return 'prop'
  if (uses.apart(file)) return 'local'
  return uses.database(file) ? 'pglite' : 'unit'
}
