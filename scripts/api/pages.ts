/** Writes the generated pages that do not describe an import path. */
import { mkdir, readFile, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { type ErrorSample, errorsPage } from './errors.ts'
import { type Claim, guaranteesPage } from './guarantees.ts'
import { optionsPage } from './options.ts'
import type { Reference } from './reference.ts'

/**
 * Writes the pages into `folder`. Call it before `writePages`, which prunes the reference.
 *
 * @returns the paths below `folder`
 */
export async function writeGenerated(
  reference: Reference,
  errors: readonly ErrorSample[],
  folder: string,
): Promise<readonly string[]> {
  const claims = JSON.parse(await readFile('test/house/guarantees.json', 'utf8')) as readonly Claim[]
  const pages = {
    'reference/options.md': optionsPage(reference),
    'reference/errors.md': errorsPage(reference, errors),
    'contributing/guarantees-by-test.md': guaranteesPage(claims),
  }
  for (const [path, text] of Object.entries(pages)) {
    await mkdir(dirname(join(folder, path)), { recursive: true })
    await writeFile(join(folder, path), text)
  }
  return Object.keys(pages)
}
