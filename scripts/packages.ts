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
  readonly dependencies?: Readonly<Record<string, string>>
  readonly peerDependencies?: Readonly<Record<string, string>>
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

/** Subpaths of a package that lead to code: their import paths, such as `@concordat/nest`, and their sources. */
export function entriesOf({
  folder,
  manifest,
}: Package): ReadonlyArray<{ readonly path: string; readonly source: string }> {
  return Object.entries(manifest.exports).flatMap(([subpath, target]) =>
    subpath === '.' && folder === ''
      ? []
      : typeof target === 'string'
        ? []
        : [{ path: join(manifest.name, subpath), source: join(folder, target['concordat-source']) }],
  )
}

/** Returns the import path of a page of the reference: `concordat/saga` of `saga`, `@concordat/nest` of `nest`. */
export function importPath(page: string): string {
  const scoped = `@concordat/${page}`
  return PACKAGES.some((each) => entriesOf(each).some(({ path }) => path === scoped)) ? scoped : `concordat/${page}`
}
