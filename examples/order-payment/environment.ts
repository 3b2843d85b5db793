/** Connections and settings that a process passes to its service. */

import type { Logger, SqlClient, SqlListener } from 'concordat/core'
import type { ClusterStore, Transport } from 'concordat/extension'
import type { Locks } from 'concordat/locks'

export interface ServiceEnvironment {
  /** The database. A service reads and writes its own schema only. */
  readonly sql: SqlClient
  readonly schema: string
  /** Time until other processes take over from a dead process, in ms. */
  readonly leaseMs: number
  /** Maximum number of relays that can share the outbox of one service. One process needs one. */
  readonly relays: number
  /** Wakes the relays of other processes. One process needs none. */
  readonly listener?: SqlListener | undefined
  readonly transport: Transport
  readonly locks: Locks
  /** Store of the shared state: see `shared-state.ts`. */
  readonly cluster: ClusterStore
  readonly logger: Logger
  /** Name of the process, unique in the run: `payments-2`. */
  readonly instance: string
  /** File with the opening amounts, which the service loads at its first start. */
  readonly openingFile?: string | undefined
}
