/** Abstracts where the services run: in one process or in many. */

import type { Logger, SqlClient } from 'concordat/core'
import type { ClusterStore, Transport } from 'concordat/extension'
import type { Intake } from '../intake/intake.ts'
import type { Schemas } from './audit.ts'

export interface Stage {
  /** Description for the terminal. */
  readonly title: string
  /** The intake's own connection to the channels. */
  readonly transport: Transport
  /** Opens a separate connection to the channels, for the operator. */
  openTransport(): Promise<Transport>
  /** The shared state of the run. */
  readonly cluster: ClusterStore
  /** Names of the deployed payments instances. */
  readonly paymentInstances: readonly string[]
  /** Database that the audit reads. */
  readonly sql: SqlClient
  readonly schemas: Schemas
  readonly logger: Logger
  /** Maximum number of orders in flight. */
  readonly maxUnderWay: number
  /** Maximum number of admitted orders at this moment. */
  mayAdmit(): number
  /** Starts every service; resolves when all of them are ready. */
  start(): Promise<void>
  /** Runs the planned kills in parallel to the intake; resolves after the last one. */
  accompany(intake: Intake, signal: AbortSignal): Promise<void>
  restarts(): number
  /** Names of the killed processes, in order. */
  readonly killed: readonly string[]
  /** Rejects when the stage cannot continue, e.g. when a service does not start again. */
  readonly failed: Promise<never>
  /**
   * Stops the services and closes the connections.
   * @param clean the run completed without faults, so the stage may remove its data
   * @param lastLook called after the services have stopped and before shared state closes; must not reject
   */
  close(clean: boolean, lastLook: () => Promise<void>): Promise<string | undefined>
}
