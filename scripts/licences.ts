/**
 * `npm run licences`: lists the packages that users install with ours, and their licences. Exit code 1 when a
 * licence is not one of `ALLOWED`.
 */
import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { PACKAGES } from './packages.ts'

/** Installed package with the licence from its manifest. */
export interface Licensed {
  readonly name: string
  readonly version: string
  readonly licence: string
}

/** Licences that ask only for their text to be distributed along, and nothing of the users of this package. */
export const ALLOWED: readonly string[] = ['MIT', 'ISC', 'BSD-2-Clause', 'BSD-3-Clause', 'Apache-2.0', '0BSD']

interface Locked {
  readonly version?: string
  readonly license?: string
  readonly dev?: boolean
  readonly peer?: boolean
  readonly optional?: boolean
  readonly dependencies?: Readonly<Record<string, string>>
}

interface Lockfile {
  readonly packages: Readonly<Record<string, Locked>>
}

/**
 * Lists the dependencies of the package, its peers, and all their dependencies.
 *
 * @throws Error for a dependency that is not in the lockfile
 */
export function licensed(lockfile: Lockfile, peers: readonly string[]): readonly Licensed[] {
  const { packages } = lockfile
  const found = new Map<string, Licensed>()
  const visit = (name: string, from: string): void => {
    const path = placeOf(packages, name, from)
    const locked = path === undefined ? undefined : packages[path]
    if (path === undefined || locked === undefined)
      throw new Error(`${name}, which ${from || 'the package'} needs, is not in the lockfile`)
    if (found.has(path)) return
    found.set(path, { name, version: locked.version ?? '', licence: locked.license ?? 'none said' })
    for (const next of Object.keys(locked.dependencies ?? {})) visit(next, path)
  }
  for (const name of [...Object.keys(packages['']?.dependencies ?? {}), ...peers]) visit(name, '')
  return [...found.values()].toSorted((a, b) => (a.name < b.name ? -1 : 1))
}

/** Finds a package in the order of Node: below the package that needs it, then further up. */
function placeOf(packages: Lockfile['packages'], name: string, from: string): string | undefined {
  for (let at = from; at !== ''; at = at.slice(0, Math.max(0, at.lastIndexOf('/node_modules/')))) {
    const below = `${at}/node_modules/${name}`
    if (packages[below] !== undefined) return below
  }
  const top = `node_modules/${name}`
  return packages[top] === undefined ? undefined : top
}

/** Accepts `(MIT OR GPL-3.0)` if one of the two is allowed, and `MIT AND ISC` only if both are. */
export function isAllowed(licence: string): boolean {
  const plain = licence.replaceAll(/[()]/g, '')
  return plain.split(' OR ').some((choice) => choice.split(' AND ').every((each) => ALLOWED.includes(each.trim())))
}

export function readLicences(): readonly Licensed[] {
  const lockfile = JSON.parse(readFileSync(new URL('../package-lock.json', import.meta.url), 'utf8')) as Lockfile
  const ours = new Set(PACKAGES.map(({ manifest }) => manifest.name))
  const needed = PACKAGES.flatMap(({ manifest: { dependencies, peerDependencies } }) =>
    Object.keys({ ...dependencies, ...peerDependencies }),
  )
  return licensed(
    lockfile,
    [...new Set(needed)].filter((name) => !ours.has(name)),
  )
}

function main(): number {
  const all = readLicences()
  for (const { name, version, licence } of all)
    console.log(`${isAllowed(licence) ? ' ' : '!'} ${name}@${version}  ${licence}`)
  const refused = all.filter(({ licence }) => !isAllowed(licence))
  if (refused.length > 0)
    console.error(`licences: ${refused.length} of ${all.length} are not among ${ALLOWED.join(', ')}`)
  return refused.length === 0 ? 0 : 1
}

if (process.argv[1] === fileURLToPath(import.meta.url)) process.exitCode = main()
