/** Packages of a folder that has a package.json and a lockfile of its own: tools and libraries that one command or one test needs. */
import { execFileSync } from 'node:child_process'
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { join, relative } from 'node:path'

const INSTALL_WITHIN_MS = 300_000

/** Does nothing when the packages are there as the lockfile says. @throws Error with the remedy */
export function installPackages(folder: string): void {
  const wanted = readFileSync(join(folder, 'package-lock.json'), 'utf8')
  const mark = join(folder, 'node_modules/.lockfile')
  if (existsSync(mark) && readFileSync(mark, 'utf8') === wanted) return
  const name = relative(process.cwd(), folder)
  process.stderr.write(`npm ci in ${name}, once\n`)
  try {
    const args = ['ci', '--ignore-scripts', '--no-audit', '--no-fund', '--loglevel=error']
    execFileSync('npm', args, { cwd: folder, stdio: ['ignore', 'ignore', 'pipe'], timeout: INSTALL_WITHIN_MS })
  } catch (cause) {
    throw new Error(`npm ci in ${name} failed: check the network. ${String(cause)}`, { cause })
  }
  writeFileSync(mark, wanted)
}
