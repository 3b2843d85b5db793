/**
 * Packages that a single test needs. They are not installed with the others: the test installs them when it runs first. Without
 * a network the test fails in CI, and is skipped by name elsewhere.
 */
import { resolve } from 'node:path'
import { pathToFileURL } from 'node:url'
import { it } from 'vitest'
import { type Packages, providePeer } from '../../../bench/peers.ts'
import { installPackages } from '../../../scripts/install-packages.ts'

/** @returns the folder where the packages are, or why they are not. */
export async function installed(name: string, packages: Packages): Promise<string | Error> {
  return providePeer(name, packages, () => {}).catch(toError)
}

/** Registers a single failing test in place of those that need packages. */
export function registerLack(lack: Error): void {
  it.skipIf(!mustRun())(`needs packages: ${lack.message.split('\n', 1).join()}`, () => {
    throw lack
  })
}

/** Whether missing packages are a failure. */
export function mustRun(): boolean {
  return process.env['CI'] === 'true' || process.env['CONCORDAT_REQUIRE_SERVERS'] === '1'
}

/**
 * Installs the packages of a folder that has a lockfile of its own, and loads files that could not be loaded without them.
 *
 * @param files by name; each exports `tests`, which registers its tests
 */
export async function suitesOf<Name extends string>(
  folder: string,
  files: Readonly<Record<Name, string>>,
): Promise<Readonly<Record<Name, () => void>>> {
  const lack = lackOf(folder)
  const load = async ([name, file]: [string, unknown]): Promise<readonly [string, () => void]> => {
    if (lack !== undefined) return [name, () => registerLack(lack)]
    const { tests } = (await import(pathToFileURL(resolve(String(file))).href)) as { readonly tests: () => void }
    return [name, tests]
  }
  return Object.fromEntries(await Promise.all(Object.entries(files).map(load))) as Record<Name, () => void>
}

function lackOf(folder: string): Error | undefined {
  try {
    installPackages(resolve(folder))
    return undefined
  } catch (error) {
    return toError(error)
  }
}

function toError(error: unknown): Error {
  return error instanceof Error ? error : new Error(String(error))
}
