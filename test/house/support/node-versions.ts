/** Versions of Node other than the one that runs the tests, from the package registry, kept in `.cache/`. */
import { execFile } from 'node:child_process'
import { access, mkdir } from 'node:fs/promises'
import { resolve } from 'node:path'
import { promisify } from 'node:util'

/** @throws when it is not in the cache and the registry does not answer */
export async function nodeBinary(version: string): Promise<string> {
  const folder = resolve('.cache', 'nodes', version)
  const name = `node-${process.platform}-${process.arch}`
  const binary = resolve(folder, 'node_modules', name, 'bin', 'node')
  if (await exists(binary)) return binary
  await mkdir(folder, { recursive: true })
  const quiet = ['--no-save', '--no-audit', '--no-fund', '--ignore-scripts']
  await promisify(execFile)('npm', ['install', ...quiet, '--prefix', folder, `${name}@${version}`])
  return binary
}

async function exists(path: string): Promise<boolean> {
  return access(path).then(
    () => true,
    () => false,
  )
}
