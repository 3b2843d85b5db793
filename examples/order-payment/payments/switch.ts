/**
 * The switch of the payments: while it is off, the instances take no commands; these wait in the broker.
 *
 * It is a watched config. The bus says that it was turned, and the answer to that means: done here. Where it stands is
 * kept in shared state, because nothing on the bus reaches an instance that is being started again: that one reads it.
 */
import type { Binder } from 'concordat/binder'
import { type Bus, createBus } from 'concordat/bus'
import { paymentCommands } from '../contracts.ts'
import type { ServiceEnvironment } from '../environment.ts'
import { openSettings, PAYMENTS_SWITCH, PaymentsSwitch } from '../shared-state.ts'

export interface FollowedSwitch {
  readonly bus: Bus
  /** Before the bus starts. */
  follow(binder: Binder): void
  close(): Promise<void>
}

export function paymentsSwitch({ cluster, instance, logger }: ServiceEnvironment): FollowedSwitch {
  const settings = openSettings(cluster)
  // Nobody asks here who is there, so nobody needs to announce himself.
  const bus = createBus({ service: 'payments', instance, members: () => [], logger })
  const position = bus.config(PAYMENTS_SWITCH, {
    schema: PaymentsSwitch,
    initial: { paused: false },
    load: () => settings.get(PAYMENTS_SWITCH),
    loadTimeoutMs: 3_000,
  })
  return {
    bus,
    follow: (binder) => {
      const commands = binder.binding(`${paymentCommands.name}.payments`)
      position.subscribe(({ paused }) => (paused ? commands.pause() : commands.resume()))
    },
    close: () => settings.close(),
  }
}
