import type { BusContext } from '../context.ts'
import { type AskForReports, ReportWatches } from './report-watches.ts'
import { Reporter } from './reporter.ts'

/** Reports in both directions: of this instance, and of the others. */
export class Reports {
  readonly reporter: Reporter
  readonly watches: ReportWatches

  constructor(context: BusContext, ask: AskForReports) {
    this.reporter = new Reporter(context)
    this.watches = new ReportWatches(context, ask)
  }

  close(): void {
    this.reporter.close()
    this.watches.close()
  }
}
