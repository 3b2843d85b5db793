/**
 * `npm run docs:api [-- FOLDER]`: the pages of docs/api, one per subpath, from the docstrings. Fails when a public name has
 * none. Deletes nothing: take away the page of a subpath that is gone.
 */
import { packageEntries, readReference, undocumented, writePages } from './reference.ts'

const reference = await readReference(packageEntries(), process.argv[2] ?? 'docs/api')
const bare = undocumented(reference)
if (bare.length > 0) throw new Error(`${bare.length} public names have no docstring: ${bare.join(', ')}`)
await writePages(reference)
