import type { BusContext } from '../context.ts'
import { Reporter } from './reporter.ts'
import { type AskForReports, Watching } from './watching.ts'

/** Reports in both directions: of this instance, and of the others. */
export class Reports {
  readonly reporter: Reporter
  readonly watching: Watching

  constructor(context: BusContext, ask: AskForReports) {
    this.reporter = new Reporter(context)
    this.watching = new Watching(context, ask)
  }

  close(): void {
    this.reporter.close()
    this.watching.close()
  }
}
