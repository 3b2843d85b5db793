/**
 * Cluster state inside one process: the same members, states, logs and errors as on Redis, with nothing to install.
 * Several `memoryCluster` that share one `memoryClusterServer` see each other like separate processes would.
 */
import { type Clock, systemClock } from '../../core/clock.ts'
import { optionNames, refuseUnknown, wrongKind } from '../../core/options.ts'
import type { ClusterStore } from '../cluster-store.ts'
import { MemoryClusterServer } from './server.ts'
import { MemoryClusterStore } from './store.ts'

export interface MemoryClusterOptions {
  /** Shared by those who are to see each other. @default a new one: nobody else can */
  readonly server?: MemoryClusterServer | undefined
}

export interface MemoryClusterServerOptions {
  /** @default systemClock */
  readonly clock?: Clock | undefined
}

export type { MemoryClusterServer } from './server.ts'

const NAMES = optionNames<MemoryClusterOptions>({ server: true })
const SERVER_NAMES = optionNames<MemoryClusterServerOptions>({ clock: true })

/** A place for several `memoryCluster` to meet. Holds nothing but memory; needs no close. */
export function memoryClusterServer(options: MemoryClusterServerOptions = {}): MemoryClusterServer {
  refuseUnknown('memoryClusterServer', options, SERVER_NAMES)
  return new MemoryClusterServer(options.clock ?? systemClock)
}

/** @throws TypeError naming the option */
export function memoryCluster(options: MemoryClusterOptions = {}): ClusterStore {
  refuseUnknown('memoryCluster', options, NAMES)
  const server = options.server ?? memoryClusterServer()
  if (!(server instanceof MemoryClusterServer)) {
    throw wrongKind('memoryCluster.server', server, 'what memoryClusterServer() returns')
  }
  return new MemoryClusterStore(server)
}
