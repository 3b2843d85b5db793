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
 * the callers look there.)
 * @throws ServerUnavailable naming what is missing, when there is neither
 */
export async function obtainServer(kind: ServerKind, options: { signal?: AbortSignal } = {}): Promise<ObtainedServer> {
  const lack = await localLack(kind)
  if (lack === undefined) return startServer(kind, options)
  const container = discoveryIsOff() ? undefined : await startContainer(kind)
  if (container === undefined) throw lack
  return { kind, ...container }
}

/** Why this machine cannot run a private server of this kind; undefined when it can. Fetches what can be fetched. */
export async function localLack(kind: ServerKind): Promise<ServerUnavailable | undefined> {
  if (discoveryIsOff()) return new ServerUnavailable(kind, 'not looked for (CONCORDAT_SERVERS=none)')
  try {
    await recipes[kind].require()
    return undefined
  } catch (error) {
    if (error instanceof ServerUnavailable) return error
    throw error
  }
}

/** `CONCORDAT_SERVERS=none` makes this machine look as if nothing were installed. */
function discoveryIsOff(): boolean {
  return process.env['CONCORDAT_SERVERS'] === 'none'
}
