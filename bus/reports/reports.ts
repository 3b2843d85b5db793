import { Reporter, type ReporterHost } from './reporter.ts'
import { Watching, type WatchingHost } from './watching.ts'

/** Reports in both directions: of this instance, and of the others. */
export class Reports {
  readonly reporter: Reporter
  readonly watching: Watching

  constructor(host: ReporterHost & WatchingHost) {
    this.reporter = new Reporter(host)
    this.watching = new Watching(host)
  }

  close(): void {
    this.reporter.close()
    this.watching.close()
  }
}
