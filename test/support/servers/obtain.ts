import { startContainer } from './containers.ts'
import { type ServerKind, ServerUnavailable } from './kinds.ts'
import { recipes, startServer } from './start.ts'

/** A running server, wherever it came from. */
export interface ObtainedServer {
  readonly kind: ServerKind
  readonly url: string
  stop(): Promise<void>
}

/**
 * A server from what this machine has: local binaries, else Docker. (An address in the environment comes before both;
 * the callers look there.) `CONCORDAT_SERVERS` leaves one or both out.
 * @throws ServerUnavailable naming what is missing, when there is neither, or why the container failed
 */
export async function obtainServer(
  kind: ServerKind,
  options: { signal?: AbortSignal | undefined } = {},
): Promise<ObtainedServer> {
  const lack = await localLack(kind)
  if (lack === undefined) return startServer(kind, options)
  if (lookedFor() === 'none') throw lack
  const container = await startContainer(kind, options)
  if (container !== undefined) return { kind, ...container }
  throw lookedFor() === 'docker' ? noEngine(kind) : lack
}

/** Why this machine cannot run a private server of this kind; undefined when it can. Fetches what can be fetched. */
export async function localLack(kind: ServerKind): Promise<ServerUnavailable | undefined> {
  const limit = lookedFor()
  if (limit !== 'all') return new ServerUnavailable(kind, `not looked for (CONCORDAT_SERVERS=${limit})`)
  try {
    await recipes[kind].require()
    return undefined
  } catch (error) {
    if (error instanceof ServerUnavailable) return error
    throw error
  }
}

function noEngine(kind: ServerKind): ServerUnavailable {
  return new ServerUnavailable(
    kind,
    'no Docker engine answers, and nothing else is looked for (CONCORDAT_SERVERS=docker)',
  )
}

/** `none` makes this machine look as if nothing were installed, `docker` as if nothing but Docker were. */
function lookedFor(): 'all' | 'docker' | 'none' {
  const value = process.env['CONCORDAT_SERVERS'] || 'all'
  if (value === 'all' || value === 'docker' || value === 'none') return value
  throw new Error(`CONCORDAT_SERVERS: expected docker, none or all, got "${value}"`)
}
