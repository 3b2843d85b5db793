/**
 * Packages that a single test needs. They are not installed with the others: the test installs them when it runs first. Without
 * a network the test fails in CI, and is skipped by name elsewhere.
 */
import { execFile } from 'node:child_process'
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { join, relative } from 'node:path'
import { pathToFileURL } from 'node:url'
import { promisify } from 'node:util'
import { it } from 'vitest'
import { type Packages, providePeer } from '../../../bench/peers.ts'

const INSTALL_WITHIN_MS = 300_000

/** @returns the folder where the packages are, or why they are not. */
export async function installed(name: string, packages: Packages): Promise<string | Error> {
  return providePeer(name, packages, () => {}).catch(toError)
}

/** What a test file registers in place of the tests that need packages. */
export function registerLack(lack: Error): void {
  it.skipIf(!mustRun())(`needs packages: ${lack.message.split('\n', 1).join()}`, () => {
    throw lack
  })
}

/** Whether a lack of packages is a failure. */
export function mustRun(): boolean {
  return process.env['CI'] === 'true' || process.env['CONCORDAT_REQUIRE_SERVERS'] === '1'
}

/**
 * Installs the packages of `FOLDER/installed`, which has a lockfile of its own, and loads files of the folder that could not be
 * loaded without them. Each exports `tests`, which registers its tests.
 */
export async function suitesOf<Name extends string>(
  folder: string,
  names: readonly Name[],
): Promise<Readonly<Record<Name, () => void>>> {
  const lack = await installFolder(join(folder, 'installed')).then(() => undefined, toError)
  const load = async (name: Name): Promise<readonly [Name, () => void]> => {
    if (lack !== undefined) return [name, () => registerLack(lack)]
    const file = pathToFileURL(join(folder, `${name}.ts`)).href
    const { tests } = (await import(file)) as { readonly tests: () => void }
    return [name, tests]
  }
  return Object.fromEntries(await Promise.all(names.map(load))) as Record<Name, () => void>
}

/** Does nothing when the packages are there as the lockfile says. */
async function installFolder(folder: string): Promise<void> {
  const wanted = readFileSync(join(folder, 'package-lock.json'), 'utf8')
  const mark = join(folder, 'node_modules/.lockfile')
  if (existsSync(mark) && readFileSync(mark, 'utf8') === wanted) return
  const options = { cwd: folder, timeout: INSTALL_WITHIN_MS }
  await promisify(execFile)('npm', ['ci', '--ignore-scripts', '--no-audit', '--no-fund'], options).catch(
    ({ message, stderr }: { readonly message: string; readonly stderr: string }) => {
      throw new Error(`npm ci in ${relative(process.cwd(), folder)} failed: check the network. ${message}\n${stderr}`)
    },
  )
  writeFileSync(mark, wanted)
}

function toError(error: unknown): Error {
  return error instanceof Error ? error : new Error(String(error))
}
