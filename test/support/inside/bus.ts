/** Names of `bus/` that only tests write: no subpath exports them. */
// oxlint-disable no-restricted-imports -- users need not write these names, tests do
export { parseAddress } from '../../../bus/address.ts'
export type { BusCounters, ReportWatch } from '../../../bus/bus.ts'
export type { BusOptions } from '../../../bus/options.ts'
export type { WatchedInstance } from '../../../bus/reports/latest-instance-reports.ts'
export type { VersionedValue } from '../../../bus/watched-config.ts'
