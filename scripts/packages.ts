/** The published packages of this repository: the engine at the root, and the packages beside it in `packages/`. */
import { globSync, readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

const root = fileURLToPath(new URL('..', import.meta.url))

/** Files of a subpath: its source, and what users get of it. */
export interface Target {
  readonly 'concordat-source': string
  readonly types: string
  readonly default: string
}

export interface Manifest {
  readonly name: string
  readonly version: string
  readonly bin?: Readonly<Record<string, string>>
  readonly exports: Readonly<Record<string, string | Target>>
  readonly scripts?: Readonly<Record<string, string>>
  readonly dependencies?: Readonly<Record<string, string>>
  readonly peerDependencies?: Readonly<Record<string, string>>
  readonly peerDependenciesMeta?: Readonly<Record<string, { readonly optional?: boolean }>>
}

export interface Package {
  /** Path from the root of the repository, with a slash at its end; empty for the engine. */
  readonly folder: string
  readonly manifest: Manifest
}

/** The engine first, then the packages beside it by name. */
export const PACKAGES: readonly Package[] = [
  'package.json',
  ...globSync('packages/*/package.json', { cwd: root }).toSorted(),
].map((path) => ({
  folder: path === 'package.json' ? '' : `${dirname(path)}/`,
  manifest: JSON.parse(readFileSync(join(root, path), 'utf8')) as Manifest,
}))

/** Subpath of a package, as users import it: `concordat/saga`, `@concordat/nest`. */
export interface Entry {
  readonly path: string
  readonly source: string
}

/** Lists the subpaths of a package that lead to code. The root of the engine only says what to import instead. */
export function entriesOf({ folder, manifest }: Package): readonly Entry[] {
  const targets = Object.entries(manifest.exports).filter(([subpath]) => folder !== '' || subpath !== '.')
  return targets.flatMap(([subpath, target]) =>
    typeof target === 'string'
      ? []
      : [{ path: join(manifest.name, subpath), source: join(folder, target['concordat-source']) }],
  )
}

/** Returns the import path of a page of the reference: `concordat/saga` of `saga`, `@concordat/nest` of `nest`. */
export function importPath(page: string): string {
  const scoped = `@concordat/${page}`
  return PACKAGES.some((each) => entriesOf(each).some(({ path }) => path === scoped)) ? scoped : `concordat/${page}`
}
