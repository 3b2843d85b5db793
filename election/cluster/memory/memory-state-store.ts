import { optionNames, refuseUnknown, wrongKind } from '../../../core/option-checks.ts'
import { type RuntimeOptions, resolveRuntime } from '../../../core/runtime-options.ts'
import type { ClusterStore } from '../store/cluster-store.ts'
import { MemoryStateServer } from './server.ts'
import { MemoryClusterStore } from './store.ts'

/** Options of `memoryStateStore`. */
export interface MemoryStateStoreOptions {
  /** Server shared by stores that see each other. @default a new one: isolated */
  readonly server?: MemoryStateServer | undefined
}

/** Options of `memoryStateServer`. */
export interface MemoryStateServerOptions extends Pick<RuntimeOptions, 'clock'> {}

const NAMES = optionNames<MemoryStateStoreOptions>({ server: true })
const SERVER_NAMES = optionNames<MemoryStateServerOptions>({ clock: true })

/**
 * Creates a server shared by several `memoryStateStore`. Uses only memory and needs no close. @throws TypeError naming the option
 */
export function memoryStateServer(options: MemoryStateServerOptions = {}): MemoryStateServer {
  refuseUnknown('memoryStateServer', options, SERVER_NAMES)
  return new MemoryStateServer(resolveRuntime('memoryStateServer', options).clock)
}

/** @throws TypeError naming the option */
export function memoryStateStore(options: MemoryStateStoreOptions = {}): ClusterStore {
  refuseUnknown('memoryStateStore', options, NAMES)
  const server = options.server ?? memoryStateServer()
  if (!(server instanceof MemoryStateServer)) {
    throw wrongKind('memoryStateStore.server', server, 'what memoryStateServer() returns')
  }
  return new MemoryClusterStore(server)
}
