/** The metrics of a binder: messaging's of OpenTelemetry where it has one, else `concordat.*`. See docs/production/telemetry.md. */
import type { Instrument } from '../../core/telemetry-interface.ts'

export const SENT: Instrument = {
  name: 'messaging.client.sent.messages',
  unit: '{message}',
  description: 'Messages that the broker has answered for',
}
export const SEND_SECONDS: Instrument = {
  name: 'messaging.client.operation.duration',
  unit: 's',
  description: 'From handing a message to the publisher to the answer of the broker',
}
export const CONSUMED: Instrument = {
  name: 'messaging.client.consumed.messages',
  unit: '{message}',
  description: 'Deliveries that were handled here, one way or the other',
}
export const PROCESS_SECONDS: Instrument = {
  name: 'messaging.process.duration',
  unit: 's',
  description: 'Handler calls',
}
export const SETTLED: Instrument = {
  name: 'concordat.binding.settled',
  unit: '{message}',
  description: 'Deliveries by how they ended: handled, dead-lettered, dropped, returned, halted',
}
export const REDELIVERED: Instrument = {
  name: 'concordat.binding.redelivered',
  unit: '{message}',
  description: 'Deliveries of which the broker says that they were handed out before',
}
export const DISPLACED: Instrument = {
  name: 'concordat.binding.displaced',
  unit: '{message}',
  description: 'Messages that a group lost, left out or may get again, since it does not go on where it stood',
}
export const LAG: Instrument = {
  name: 'concordat.binding.lag',
  unit: '{message}',
  description: 'Messages that a group has not settled, as the broker says',
}
export const DEAD_LETTERS: Instrument = {
  name: 'concordat.binding.dead_letters',
  unit: '{message}',
  description: 'Dead letters of a group that were not redriven, as the broker counts them',
}
export const IN_FLIGHT: Instrument = {
  name: 'concordat.binding.in_flight',
  unit: '{message}',
  description: 'Deliveries in this process, running or waiting for their turn',
}
export const UP: Instrument = {
  name: 'concordat.binding.up',
  unit: '1',
  description: '1 while the binding does what it was told, 0 while it is halted or has no broker',
}
export const SLOW: Instrument = {
  name: 'concordat.binding.slow',
  unit: '1',
  description: '1 while a handler call or a poll has run for longer than the slowAfterMs of its binding',
}
export const BLOCKED: Instrument = {
  name: 'concordat.process.blocked',
  unit: 's',
  description: 'How long the event loop of the process was blocked within the last minute',
}
export const CIRCUIT_OPEN: Instrument = {
  name: 'concordat.binding.circuit_open',
  unit: '1',
  description: '1 while the circuit breaker lets no message through, or one on trial',
}

/** Name of a consumer: bounded in number, so suitable for metrics. */
export interface ConsumerName {
  readonly destination: string
  readonly group: string | null
}
