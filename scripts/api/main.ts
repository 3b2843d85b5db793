/**
 * `npm run docs:api [-- FOLDER]`: writes the generated pages into FOLDER (default `docs`): `api/` with a page per
 * subpath from the docstrings, `reference/options.md`, `reference/errors.md` and `contributing/guarantees-by-test.md`.
 * Fails when a public name has no docstring. Deletes nothing: remove the page of a deleted subpath yourself.
 */
import { ERRORS } from '../../test/house/support/errors-table.ts'
import { installPackages } from '../install-packages.ts'

installPackages(import.meta.dirname)
const { writeGenerated } = await import('./pages.ts')
const { packageEntries, readReference, undocumented, writePages } = await import('./reference.ts')

const folder = process.argv[2] ?? 'docs'
const reference = await readReference(packageEntries(), `${folder}/api`)
const bare = undocumented(reference)
if (bare.length > 0) throw new Error(`${bare.length} public names have no docstring: ${bare.join(', ')}`)
await writeGenerated(reference, ERRORS, folder)
await writePages(reference)
