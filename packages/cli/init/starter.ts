/** Creates the files of a starter project: those of `examples/starter`, with a name and versions that were tested together. */
import { mkdir, readdir, readFile, writeFile } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { dirname, join, relative, resolve } from 'node:path'
import { hasCode } from 'concordat/core'

/** A file of the project, not written yet. */
export interface StarterFile {
  readonly path: string
  readonly text: string
}

interface Manifest {
  readonly version: string
  readonly engines: Readonly<Record<string, string>>
  readonly devDependencies: Readonly<Record<string, string>>
}

const DEPENDENCIES = ['@electric-sql/pglite', 'pg', 'zod'] as const
/** Includes Node: the scripts run on it, whatever the machine has installed. */
const TOOLS = ['@types/node', '@types/pg', 'node', 'typescript', 'vitest'] as const

/** Returns all files, the same each time. @param folder where the caller will write them */
export async function starterFiles(folder: string, name: string): Promise<readonly StarterFile[]> {
  const root = dirname(createRequire(import.meta.url).resolve('concordat/package.json'))
  const manifest = JSON.parse(await readFile(join(root, 'package.json'), 'utf8')) as Manifest
  const starter = join(root, 'examples', 'starter')
  const entries = await readdir(starter, { recursive: true, withFileTypes: true })
  const files = await Promise.all(
    entries
      .filter((entry) => entry.isFile())
      .map(async ({ parentPath, name: file }) => {
        const text = await readFile(join(parentPath, file), 'utf8')
        // npm does not pack files named .gitignore.
        const path = join(relative(starter, parentPath), file === 'gitignore' ? '.gitignore' : file)
        return { path, text: text.replace(/^# NAME$/m, `# ${name}`) }
      }),
  )
  const sources = await sourcesOf(dirname(root), folder, manifest)
  const own = { path: 'package.json', text: manifestText(name, manifest, sources) }
  return [...files, own].toSorted((one, other) => (one.path < other.path ? -1 : 1))
}

/** Writes into a folder that is missing or empty. @throws Error for another folder, before anything is written */
export async function writeStarter(folder: string, files: readonly StarterFile[]): Promise<void> {
  for (const { path, text } of files) {
    const file = join(folder, path)
    await mkdir(dirname(file), { recursive: true })
    await writeFile(file, text, { flag: 'wx' })
  }
}

/**
 * @throws Error naming the first entry of the folder
 */
export async function requireEmpty(folder: string): Promise<void> {
  const entries = await readdir(folder).catch((error: unknown) => {
    if (hasCode(error, 'ENOENT')) return []
    if (hasCode(error, 'ENOTDIR')) throw new Error(`${folder} is a file: name another folder`)
    throw error
  })
  const [first] = entries
  if (first !== undefined) throw new Error(`${folder} is not empty (${first} is in it): name a new folder`)
}

function manifestText(name: string, { engines, devDependencies }: Manifest, sources: Sources): string {
  const versions = (names: readonly string[]): Readonly<Record<string, string | undefined>> =>
    Object.fromEntries(names.map((each) => [each, devDependencies[each]]))
  const manifest = {
    name,
    version: '0.1.0',
    private: true,
    type: 'module',
    engines,
    scripts: { start: 'node src/main.ts', test: 'vitest run', check: 'tsc' },
    dependencies: { concordat: sources.concordat, ...versions(DEPENDENCIES) },
    devDependencies: { '@concordat/cli': sources['@concordat/cli'], ...versions(TOOLS) },
    // npm requires permission for a package's install script.
    allowScripts: { node: true },
  }
  return `${JSON.stringify(manifest, undefined, 2)}\n`
}

interface InstalledPackages {
  readonly packages?: Readonly<Record<string, { readonly resolved?: string; readonly link?: boolean }>>
}

type Sources = Readonly<Record<'concordat' | '@concordat/cli', string>>

/** Finds the source of the installed packages: the tarball or folder of each, otherwise its version. */
async function sourcesOf(modules: string, folder: string, { version }: Manifest): Promise<Sources> {
  const text = await readFile(join(modules, '.package-lock.json'), 'utf8').catch(() => '{}')
  const { packages = {} } = JSON.parse(text) as InstalledPackages
  const sourceOf = (name: string): string => {
    const { resolved, link } = packages[`node_modules/${name}`] ?? {}
    const path =
      resolved?.startsWith('file:') === true ? resolved.slice('file:'.length) : link === true ? resolved : undefined
    return path === undefined ? version : `file:${relative(resolve(folder), resolve(dirname(modules), path))}`
  }
  return { concordat: sourceOf('concordat'), '@concordat/cli': sourceOf('@concordat/cli') }
}
