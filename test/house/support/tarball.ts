/** The packages as a user gets them: built, packed, and installed in an empty project. */
import { execFile } from 'node:child_process'
import { copyFile, cp, mkdir, mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join, resolve } from 'node:path'
import { promisify } from 'node:util'
import { entriesOf, type Manifest, PACKAGES } from '../../../scripts/packages.ts'
import { oncePerRun } from '../../support/suite/once-per-run.ts'

const repository = process.cwd()

/** Import path of every subpath of every package. */
export const IMPORT_PATHS = PACKAGES.flatMap(entriesOf).map(({ path }) => path)

/** Drivers and frameworks that users install beside the packages. */
export const PEERS = [
  ...new Set(PACKAGES.flatMap(({ manifest }) => Object.keys(manifest.peerDependencies ?? {}))),
].filter((name) => PACKAGES.every(({ manifest }) => manifest.name !== name))

export const manifest = JSON.parse(await readFile('package.json', 'utf8')) as {
  readonly engines: { readonly node: string }
  readonly dependencies: Readonly<Record<string, string>>
  readonly devDependencies: Readonly<Record<string, string>>
}

export interface Packed {
  /** Folder of the test file, with the tarballs and the projects; remove it when done. */
  readonly folder: string
  /** Tarball of the engine. */
  readonly tarball: string
  /** Tarball of every package, by its name. */
  readonly tarballs: ReadonlyMap<string, string>
  /** `node_modules` of a project that installed the tarballs; `install` copies it. */
  readonly modules: string
}

/** The packages, made once in a run. */
export async function pack(): Promise<Packed> {
  const made = await oncePerRun('package', build)
  const folder = await mkdtemp(join(tmpdir(), 'concordat-package-'))
  const tarballs = new Map<string, string>()
  for (const { manifest } of PACKAGES) {
    await copyFile(join(made, fileOf(manifest)), join(folder, fileOf(manifest)))
    tarballs.set(manifest.name, join(folder, fileOf(manifest)))
  }
  const tarball = tarballs.get('concordat') as string
  return { folder, tarball, tarballs, modules: join(made, 'installed', 'node_modules') }
}

/** Builds and packs apart from the repository's own `dist`, which other work may be using. */
async function build(folder: string): Promise<void> {
  const stage = join(folder, 'stage')
  await mkdir(stage)
  for (const file of ['package.json', 'README.md', 'CHANGELOG.md', 'SECURITY.md', 'LICENSE'])
    await copyFile(file, join(stage, file))
  for (const part of ['docs', 'examples/starter']) await cp(part, join(stage, part), { recursive: true })
  for (const { folder: own } of PACKAGES.slice(1)) {
    await mkdir(join(stage, own), { recursive: true })
    for (const file of ['package.json', 'README.md', 'LICENSE']) await copyFile(join(own, file), join(stage, own, file))
  }
  await run(process.execPath, ['scripts/build.ts', stage], repository)
  const pack = ['pack', '--ignore-scripts', '--pack-destination', folder]
  await Promise.all(PACKAGES.map(({ folder: own }) => run('npm', pack, join(stage, own))))
  await installOnce(folder)
}

/** Name that npm gives the tarball of a package. */
function fileOf({ name, version }: { readonly name: string; readonly version: string }): string {
  return `${name.replace('@', '').replace('/', '-')}-${version}.tgz`
}

/** Installs with npm and the repository's dependencies, without a network. */
async function installOnce(folder: string): Promise<void> {
  const project = join(folder, 'installed')
  await mkdir(project)
  await writeFile(join(project, 'package.json'), JSON.stringify({ name: 'empty', private: true }))
  const dependencies = Object.keys(manifest.dependencies).map((dependency) => resolve('node_modules', dependency))
  // Offline, npm cannot look up the drivers that several packages name as optional peers.
  const quiet = ['--offline', '--legacy-peer-deps', '--no-audit', '--no-fund', '--ignore-scripts']
  const packages = PACKAGES.map(({ manifest }) => ({
    name: manifest.name,
    file: join(folder, fileOf(manifest)),
    needsFramework: needsFramework(manifest),
  }))
  const alone = packages.filter(({ needsFramework: needs }) => !needs).map(({ file }) => file)
  await run('npm', ['install', ...quiet, ...alone, ...dependencies], project)
  // Installed by npm, these would need their frameworks, which a test links beside them.
  for (const { name, file } of packages.filter(({ needsFramework: needs }) => needs)) {
    const place = join(project, 'node_modules', name)
    await mkdir(place, { recursive: true })
    await run('tar', ['-xzf', file, '--strip-components=1'], place)
  }
  // npm links them by a path from here, which leads elsewhere in a copy.
  for (const [n, dependency] of Object.keys(manifest.dependencies).entries()) {
    const link = join(project, 'node_modules', dependency)
    await rm(link)
    await symlink(dependencies[n] ?? '', link)
  }
}

/** True for a package with a peer that is neither optional nor ours. */
function needsFramework({ peerDependencies = {}, peerDependenciesMeta = {} }: Manifest): boolean {
  return Object.keys(peerDependencies).some(
    (name) => peerDependenciesMeta[name]?.optional !== true && PACKAGES.every(({ manifest }) => manifest.name !== name),
  )
}

/**
 * Installs the tarball into a project that has nothing else.
 * @param peers packages to link from the repository
 */
export async function install(
  { folder, modules }: Packed,
  name: string,
  peers: readonly string[],
  type: 'module' | 'commonjs' = 'module',
): Promise<string> {
  const project = join(folder, name)
  await mkdir(project)
  await writeFile(join(project, 'package.json'), JSON.stringify({ name: 'empty', private: true, type }))
  await cp(modules, join(project, 'node_modules'), { recursive: true, verbatimSymlinks: true })
  for (const peer of peers) {
    const link = join(project, 'node_modules', peer)
    await mkdir(dirname(link), { recursive: true })
    await symlink(resolve('node_modules', peer), link)
  }
  return project
}

/** @throws with what the command printed, when it fails */
export async function run(
  command: string,
  args: readonly string[],
  cwd: string,
): Promise<{ readonly stdout: string; readonly stderr: string }> {
  return promisify(execFile)(command, args, { cwd, maxBuffer: 16 * 1024 * 1024 }).catch(
    (error: { stdout: string; stderr: string; message: string }) => {
      throw new Error(`${error.message}\n${error.stdout}\n${error.stderr}`)
    },
  )
}

/**
 * @throws when `tsc` reports an error in these files, including our declarations unless excluded
 */
export async function typeCheck(
  project: string,
  files: Readonly<Record<string, string>>,
  options: readonly string[] = ['--skipLibCheck', 'false'],
): Promise<void> {
  for (const [name, text] of Object.entries(files)) await writeFile(join(project, name), text)
  const strict = ['--noEmit', '--strict', '--exactOptionalPropertyTypes', '--module', 'nodenext', '--types', 'node']
  const target = ['--target', 'es2024', '--lib', 'es2024,esnext.disposable']
  const tsc = resolve('node_modules/typescript/bin/tsc')
  await run(process.execPath, [tsc, ...strict, ...target, ...options, ...Object.keys(files)], project)
}
