/**
 * Preloaded (`--import`) by workers and by the processes that tests start: PGlite imported there by sources, examples
 * or the packed package begins with the copy of `pglite-copy.ts` where it would create a database. A test that must see
 * a database being created starts its process with `makingDatabases`.
 */
import { registerHooks } from 'node:module'

const PGLITE = '/@electric-sql/pglite/dist/index.js'
const MARK = '?begun'
const helper = new URL('pglite-copy.ts', import.meta.url).href

const wrapped = (pglite: string): string => `
import { PGlite as Original } from '${pglite}'
import { begunFromCopy } from '${helper}'
export * from '${pglite}'
export class PGlite extends Original {
  constructor(first = {}, second = {}) {
    super(begunFromCopy(typeof first === 'string' ? { ...second, dataDir: first } : first))
  }
  static async create(first, second) {
    const database = new PGlite(first, second)
    await database.waitReady
    return database
  }
}
`

registerHooks({
  resolve: (specifier, context, next) => {
    const found = next(specifier, context)
    const isFromHere = context.parentURL?.endsWith(MARK) === true
    return isFromHere || !found.url.endsWith(PGLITE) ? found : { ...found, url: `${found.url}${MARK}` }
  },
  load: (url, context, next) =>
    url.endsWith(MARK)
      ? { format: 'module', source: wrapped(url.slice(0, -MARK.length)), shortCircuit: true }
      : next(url, context),
})
