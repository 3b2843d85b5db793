import type { BusContext } from '../shared-dependencies.ts'
import { type AskForReports, InstanceReportWatches } from './instance-report-watches.ts'
import { InstanceReporter } from './instance-reporter.ts'

/** Reports in both directions: of this instance, and of the others. */
export class ReportExchange {
  readonly reporter: InstanceReporter
  readonly watches: InstanceReportWatches

  constructor(context: BusContext, ask: AskForReports) {
    this.reporter = new InstanceReporter(context)
    this.watches = new InstanceReportWatches(context, ask)
  }

  close(reason: Error): void {
    this.reporter.close()
    this.watches.close(reason)
  }
}
