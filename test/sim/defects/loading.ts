import { registerHooks } from 'node:module'
import { type Patch, patched } from './defect.ts'

const ROOT = new URL('../../../', import.meta.url).href

/**
 * Loads these sources with their patches from now on. No file of the package may have been loaded before.
 * @returns a function that throws when one of them was not loaded
 */
export function loadPatched(patches: readonly Patch[]): () => void {
  const left = new Set(patches.map(({ file }) => file))
  registerHooks({
    load(url, context, nextLoad) {
      const loaded = nextLoad(url, context)
      const own = patches.filter(({ file }) => url === ROOT + file)
      if (own.length === 0) return loaded
      for (const { file } of own) left.delete(file)
      return { ...loaded, source: own.reduce(patched, textOf(loaded.source)) }
    },
  })
  return () => {
    if (left.size > 0) throw new Error(`never loaded: ${[...left].join(', ')}`)
  }
}

function textOf(source: unknown): string {
  if (typeof source === 'string') return source
  if (source instanceof Uint8Array) return new TextDecoder().decode(source)
  throw new TypeError('a source that is no text')
}
