import { type PrivateServer, type StartOptions, startPrivateServer } from '../private-server.ts'
import type { Recipe } from '../recipe.ts'

/** Servers that belong together. Ends all of them when it is disposed. */
export interface ServerGroup extends AsyncDisposable {
  readonly servers: readonly PrivateServer[]
  stop(): Promise<void>
}

export interface GroupStart {
  readonly recipe: Recipe
  readonly options?: StartOptions | undefined
}

/** Starts all of them side by side; when one does not start, none is left. */
export async function startTogether(starts: readonly GroupStart[]): Promise<readonly PrivateServer[]> {
  const begun = await Promise.allSettled(starts.map(({ recipe, options }) => startPrivateServer(recipe, options)))
  const servers = begun.flatMap((start) => (start.status === 'fulfilled' ? [start.value] : []))
  const failed = begun.find((start) => start.status === 'rejected')
  if (failed === undefined) return servers
  await stopAll(servers)
  throw failed.reason
}

export async function stopAll(servers: readonly PrivateServer[]): Promise<void> {
  await Promise.all(servers.map((server) => server.stop()))
}

/** Setup after the start; when it fails, the servers are stopped. */
export async function orStop<T>(servers: readonly PrivateServer[], setUp: () => Promise<T>): Promise<T> {
  try {
    return await setUp()
  } catch (error) {
    await stopAll(servers)
    throw error
  }
}
