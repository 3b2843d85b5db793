/** What a process gives to the service that it runs. */
import type { Transport } from 'concordat/binder/transport'
import type { ClusterStore } from 'concordat/cluster/store'
import type { Logger, SqlClient, SqlListener } from 'concordat/core'
import type { Locks } from 'concordat/locks'

export interface ServiceEnvironment {
  /** The service's database. It touches its own schema only. */
  readonly sql: SqlClient
  readonly schema: string
  /** How long a dead process keeps what it had a lease on, in ms. */
  readonly leaseMs: number
  /** How many relays of one service can share its outbox; one process needs one. */
  readonly relays: number
  /** Wakes the relays of other processes; one process needs none. */
  readonly listener?: SqlListener | undefined
  readonly transport: Transport
  readonly locks: Locks
  /** Where shared state is kept: see `shared-state.ts`. */
  readonly cluster: ClusterStore
  readonly logger: Logger
  /** Unique per process: `payments-2`. */
  readonly instance: string
  /** The file that the service is filled from when it starts for the first time, if it is filled. */
  readonly openingFile?: string | undefined
}
