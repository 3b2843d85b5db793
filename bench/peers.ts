/**
 * Packages that a bench compares with and that are not dependencies of the repository: installed on first use, pinned,
 * each set in a folder of its own. Delete `node_modules/.cache/concordat-bench` to have them fetched again.
 */
import { execFile } from 'node:child_process'
import { existsSync } from 'node:fs'
import { mkdir, mkdtemp, rename, rm, writeFile } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

const CACHE = fileURLToPath(new URL('../node_modules/.cache/concordat-bench/', import.meta.url))
const INSTALL_WITHIN_MS = 300_000

/** A peer that cannot be had here. The message says why and what to do, on one line. */
export class PeerUnavailable extends Error {}

/** Exact versions by package name. */
export type Packages = Readonly<Record<string, string>>

/**
 * The folder into which these packages are installed, for `loadPeer`.
 * @throws PeerUnavailable
 */
export async function providePeer(name: string, packages: Packages, progress: (what: string) => void): Promise<string> {
  const wanted = Object.entries(packages).map(([of, version]) => `${of}@${version}`)
  const folder = join(CACHE, [name, ...Object.values(packages)].join('-'))
  if (existsSync(folder)) return folder
  progress(`installing ${wanted.join(', ')} (once, into node_modules/.cache)`)
  await mkdir(CACHE, { recursive: true })
  const making = await mkdtemp(join(CACHE, 'installing-'))
  try {
    await writeFile(join(making, 'package.json'), '{ "private": true }\n')
    await npmInstall(wanted, making)
    await rename(making, folder).catch((error: unknown) => {
      // Another bench process has installed it first.
      if (!existsSync(folder)) throw error
    })
    return folder
  } finally {
    await rm(making, { recursive: true, force: true })
  }
}

/** Loads a package of a folder that `providePeer` gave. What of it is used is for the caller to describe. */
export function loadPeer<T>(folder: string, name: string): T {
  return createRequire(join(folder, 'package.json'))(name) as T
}

/** Path of a file in a package of such a folder. @throws when the file does not exist */
export function peerFile(folder: string, path: string): string {
  return createRequire(join(folder, 'package.json')).resolve(path)
}

/** Installs without the packages' install scripts: they are not needed, and some report to their makers. */
function npmInstall(packages: readonly string[], folder: string): Promise<void> {
  const args = ['install', '--save-exact', '--ignore-scripts', '--no-audit', '--no-fund', '--loglevel=error']
  const options = { cwd: folder, timeout: INSTALL_WITHIN_MS }
  return new Promise((resolve, reject) => {
    execFile('npm', [...args, ...packages], options, (error, stdout, stderr) => {
      if (error === null) return resolve()
      const line = `${stderr}${stdout}`.split('\n').find((text) => text.trim() !== '') ?? error.message
      const remedy = `check the network and the registry, or try by hand: npm install ${packages.join(' ')}`
      reject(new PeerUnavailable(`not installed: ${line.trim()}; ${remedy}`, { cause: error }))
    })
  })
}
