import type { TransportHost } from '../transport/transport.ts'
import type { DestinationDirectory } from './destination-directory.ts'
import type { ResolvedPostgresOptions } from './options.ts'
import type { ProcessLease } from './process-lease.ts'
import type { StatementRunner } from './statement-runner.ts'
import type { TransportTables } from './tables.ts'

/** State shared by the classes of one attached transport. */
export interface LogContext {
  readonly host: TransportHost
  readonly options: ResolvedPostgresOptions
  readonly database: StatementRunner
  readonly tables: TransportTables
  readonly session: ProcessLease
  readonly directory: DestinationDirectory
}
