/**
 * `node scripts/runtime-modules.ts FOLDER PACKAGE...`: copies the installed modules that these packages and Concordat
 * need at run time, according to the lockfile, into FOLDER. Use it for images: the rest of `node_modules` is for builds
 * and tests.
 */
import { cpSync, existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'

interface Locked {
  readonly dependencies?: Readonly<Record<string, string>>
  readonly optionalDependencies?: Readonly<Record<string, string>>
  readonly optional?: boolean
}

const [target, ...names] = process.argv.slice(2)
if (target === undefined) {
  process.stderr.write('usage: node scripts/runtime-modules.ts FOLDER PACKAGE...\n')
  process.exit(2)
}
const { packages } = JSON.parse(readFileSync('package-lock.json', 'utf8')) as {
  readonly packages: Readonly<Record<string, Locked>>
}
const wanted = new Set<string>()
for (const name of [...Object.keys(packages['']?.dependencies ?? {}), ...names]) want('', name)
// The copy of a folder includes the modules nested in it.
const folders = [...wanted].filter((path) => existsSync(path) || packages[path]?.optional !== true)
for (const path of folders.toSorted()) {
  cpSync(path, join(target, path.slice('node_modules/'.length)), { recursive: true, dereference: true })
}
process.stdout.write(`${folders.length} modules\n`)

/** Adds a package and its dependencies to `wanted`. Searches as Node does: in the dependent package, then outwards. */
function want(from: string, name: string): void {
  const path = placesOf(from, name).find((place) => place in packages)
  if (path === undefined) {
    const whose = from === '' ? 'asked for' : `needed by ${from}`
    process.stderr.write(
      `${name}, ${whose}, is not in package-lock.json: run npm install, or ask for another package\n`,
    )
    process.exit(2)
  }
  if (wanted.has(path)) return
  wanted.add(path)
  const { dependencies = {}, optionalDependencies = {} } = packages[path] ?? {}
  for (const dependency of Object.keys({ ...dependencies, ...optionalDependencies })) want(path, dependency)
}

function placesOf(from: string, name: string): readonly string[] {
  const outer = from === '' ? [] : from.split('/node_modules/')
  const within = outer.map(
    (_, index) => `${outer.slice(0, outer.length - index).join('/node_modules/')}/node_modules/${name}`,
  )
  return [...within, `node_modules/${name}`]
}
