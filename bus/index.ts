/**
 * The bus: control events to every instance of some services, over the binder's transport.
 *
 * Guarantees: each addressed instance that is subscribed handles an event once, and events of one sender in their order; a
 * publisher can request which instances handled it, which failed, and which are missing. Does not guarantee anything to an
 * instance that is down; it reads its state when it starts.
 *
 * @module
 */
export { type Address, formatAddress, matchesAddress } from './address.ts'
export {
  ConfigChanged,
  PauseBinding,
  Refresh,
  ResumeBinding,
  SendReports,
  SetLogLevel,
  Shutdown,
} from './built-in-events.ts'
export type { Acknowledgement, Bus, BusHealth, ReportWatch } from './bus.ts'
export { type BusEvent, defineEvent, type EventContext, type EventSubscription, onEvent } from './define-event.ts'
export { BusError } from './errors.ts'
export { createBus } from './service-bus.ts'
export type { WatchedConfig } from './watched-config.ts'
