/**
 * The bus: control events to every instance of some services, over the binder's transport.
 *
 * Guarantees: each addressed instance that is subscribed handles an event once, events of one sender in their order; who
 * asks hears who did it, who failed and who is missing. Does not guarantee: anything to an instance that is down; it
 * reads its state when it starts.
 *
 * @module
 */
export { type Address, formatAddress, matchesAddress, parseAddress } from './address.ts'
export {
  type ConfigChange,
  ConfigChanged,
  LOG_LEVELS,
  type LogLevel,
  PauseBinding,
  Refresh,
  type ReportOrder,
  ResumeBinding,
  SendReports,
  SetLogLevel,
  Shutdown,
} from './built-in.ts'
export type {
  AckedPublishOptions,
  Acknowledgement,
  Bus,
  BusCounters,
  BusDropReason,
  BusHealth,
  BusMember,
  FailedAck,
  PublishOptions,
  ReadyOptions,
  ReportWatch,
  ReportWatchOptions,
} from './bus.ts'
export type { BusChannel } from './channels.ts'
export type { ConfigOptions, VersionedValue, WatchedConfig } from './config.ts'
export { BusError, type BusErrors } from './errors.ts'
export {
  type BusEvent,
  defineEvent,
  type EventContext,
  type EventHandler,
  type EventOptions,
  type EventSubscription,
  onEvent,
} from './event.ts'
export type { AuthorizeRequest, BusOptions, ShutdownRequest } from './options.ts'
export type { AckError } from './outcome.ts'
export type { BindingReport, ReportBody } from './reports/report.ts'
export type { WatchedBinding, WatchedInstance } from './reports/watch.ts'
export { createBus } from './service-bus.ts'
