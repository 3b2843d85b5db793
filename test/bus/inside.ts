/** The pure parts inside of the bus that are tested on their own. Not public: hence not by package name. */
// oxlint-disable no-restricted-imports -- the one file of these tests that reaches inside

export type { EventEnvelope, PresenceEnvelope, ReportEnvelope } from '../../bus/envelope.ts'
export { parseEvent } from '../../bus/envelope.ts'
export { resolveBus } from '../../bus/options.ts'
export { decodeOutcome, encodeOutcome, failedWith } from '../../bus/outcome.ts'
export { decodeReport, encodeReport, MAX_REPORT_BYTES } from '../../bus/reports/instance-report.ts'
export { InstanceReporter } from '../../bus/reports/instance-reporter.ts'
export { LatestInstanceReports, MAX_INSTANCES } from '../../bus/reports/latest-instance-reports.ts'
export { Roster } from '../../bus/roster.ts'
export { SeenEvents } from '../../bus/seen-events.ts'
export { busContext } from '../../bus/shared-dependencies.ts'
export { canonicalForm, Signer } from '../../bus/signature.ts'
export { KitClock } from '../../testing/clock.ts'
