/**
 * Global setup of the vitest projects `int` and `release`: starts servers of each kind that the selected files need, all at
 * once, and tells the tests where they are. Each worker has servers of its own, so that files side by side do not meet on
 * one. A kind with an address in the environment is not started.
 */
import { readFileSync } from 'node:fs'
import type { TestProject } from 'vitest/node'
import { addressInEnvironment, addressVariable, type ServerKind, serverKinds } from './kinds.ts'
import { neededServers, type ServerNeeds } from './needs.ts'
import { localLack, type ObtainedServer, obtainServer } from './obtain.ts'
import { recipes } from './start.ts'

/** What the tests are told about a kind; nothing about a kind that no selected file names. */
export interface Provision {
  /** Where the shared server is. */
  readonly url?: string
  /** Why there is none. */
  readonly missing?: string
}

export type Provisions = Readonly<Partial<Record<ServerKind, Provision>>>

declare module 'vitest' {
  interface ProvidedContext {
    /** One for each worker, in the order of `VITEST_POOL_ID`. */
    sharedServers: readonly Provisions[]
    ownServers: Provisions
  }
}

export async function setup(project: TestProject): Promise<() => Promise<void>> {
  const begin = performance.now()
  const needs = findNeeds(project)
  const started: ObtainedServer[] = []
  const stop = async (): Promise<void> => {
    await Promise.all(started.map((server) => server.stop()))
  }
  try {
    const own = await gather(needs.own, async (kind) => describeLack(await localLack(kind)))
    const sets = Array.from({ length: countSets(project) }, () =>
      gather(needs.shared, (kind) => provide(kind, started)),
    )
    await Promise.allSettled(sets)
    const shared = await Promise.all(sets)
    project.provide('ownServers', own)
    project.provide('sharedServers', shared)
    reportMissing([...shared, own].flatMap((provisions) => Object.values(provisions)))
  } catch (error) {
    await stop()
    throw error
  }
  const kinds = [...new Set(started.map(({ kind }) => kind))]
    .map((kind) => `${started.filter((server) => server.kind === kind).length} ${kind}`)
    .join(', ')
  if (kinds !== '') report(`started ${kinds} in ${((performance.now() - begin) / 1_000).toFixed(1)} s`)
  return stop
}

/** In watch mode other files may be selected later, so everything is needed. */
function findNeeds(project: TestProject): ServerNeeds {
  if (project.vitest.config.watch) return { shared: serverKinds, own: serverKinds }
  return neededServers(selectedFiles(project).map((path) => readFileSync(path, 'utf8')))
}

function selectedFiles(project: TestProject): readonly string[] {
  return project.vitest.state.getPaths().filter((path) => /\.(int|release)\.test\.ts$/.test(path))
}

/** No more than there are files to run beside each other. */
function countSets(project: TestProject): number {
  const { maxWorkers } = project.config
  return project.vitest.config.watch ? maxWorkers : Math.max(1, Math.min(maxWorkers, selectedFiles(project).length))
}

/** Waits for all of them even when one rejects, so that none comes up after the others were stopped. */
async function gather(
  kinds: readonly ServerKind[],
  provision: (kind: ServerKind) => Promise<Provision>,
): Promise<Provisions> {
  const outcomes = kinds.map(async (kind) => [kind, await provision(kind)] as const)
  await Promise.allSettled(outcomes)
  return Object.fromEntries(await Promise.all(outcomes))
}

async function provide(kind: ServerKind, started: ObtainedServer[]): Promise<Provision> {
  const address = addressInEnvironment(kind)
  if (address !== undefined) return checkAddress(kind, address)
  try {
    const server = await obtainServer(kind)
    started.push(server)
    return { url: server.url }
  } catch (error) {
    return { missing: error instanceof Error ? error.message : String(error) }
  }
}

/** An address that does not answer is a mistake of the caller, not a reason to skip. */
async function checkAddress(kind: ServerKind, address: string): Promise<Provision> {
  await recipes[kind].ping(address).catch((cause: unknown) => {
    throw new Error(`${addressVariable[kind]} is set, but no ${kind} answers there: ${String(cause)}`, { cause })
  })
  return { url: address }
}

function describeLack(lack: Error | undefined): Provision {
  return lack === undefined ? {} : { missing: lack.message }
}

function reportMissing(provisions: readonly Provision[]): void {
  const reasons = new Set(provisions.flatMap(({ missing }) => missing ?? []))
  const fate = process.env['CONCORDAT_REQUIRE_SERVERS'] === '1' ? 'fail' : 'are skipped'
  for (const reason of reasons) report(`its tests ${fate}: ${reason}`)
}

function report(line: string): void {
  process.stderr.write(`test servers: ${line}\n`)
}
