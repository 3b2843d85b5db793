/** Where the services run: one process or many. The rest of the run does not care. */
import type { Transport } from 'concordat/binder/transport'
import type { ClusterStore } from 'concordat/cluster/store'
import type { Logger, SqlClient } from 'concordat/core'
import type { Intake } from '../intake/intake.ts'
import type { Schemas } from './audit.ts'

export interface Stage {
  /** For people. */
  readonly title: string
  /** The intake's own connection to the channels. */
  readonly transport: Transport
  /** Another connection of its own to the channels, for whoever stands beside the run. */
  openTransport(): Promise<Transport>
  /** The shared state of the run. */
  readonly cluster: ClusterStore
  /** Who should be there of the payments service. */
  readonly paymentInstances: readonly string[]
  /** For the audit. */
  readonly sql: SqlClient
  readonly schemas: Schemas
  readonly logger: Logger
  /** Orders under way at most. */
  readonly maxUnderWay: number
  /** The most orders that may have been let go so far. */
  mayAdmit(): number
  /** Starts every service; resolves when all of them are ready. */
  start(): Promise<void>
  /** Goes on beside the intake until its work (killing) is done. */
  accompany(intake: Intake, signal: AbortSignal): Promise<void>
  restarts(): number
  /** Who was killed, in turn. */
  readonly killed: readonly string[]
  /** Rejects when the stage cannot go on, e.g. a service that does not start any more. */
  readonly failed: Promise<never>
  /**
   * Ends everything.
   * @param clean the run is over and well: nothing of it needs to stay
   * @param lastLook when the services are gone and what they shared is still there; must not reject
   */
  close(clean: boolean, lastLook: () => Promise<void>): Promise<string | undefined>
}
