/**
 * The payments switch: while payments are paused, the instances consume no commands, which wait in the broker.
 *
 * The switch is a watched config. The bus announces a change; an instance acknowledges it after it has paused or
 * resumed its consumer. Shared state stores the value, for instances that start after the announcement.
 */
import type { Binder } from 'concordat/binder'
import { type Bus, createBus } from 'concordat/bus'
import { paymentCommands } from '../contracts.ts'
import type { ServiceEnvironment } from '../environment.ts'
import { openSettings, PAYMENTS_SWITCH, PaymentsSwitch } from '../shared-state.ts'

export interface FollowedSwitch {
  readonly bus: Bus
  /** Connects the switch to the command consumer. Call it before the bus starts. */
  follow(binder: Binder): void
  close(): Promise<void>
}

export function paymentsSwitch({ cluster, instance, logger }: ServiceEnvironment): FollowedSwitch {
  const settings = openSettings(cluster)
  // No code here reads the member list, so the instances need not announce themselves.
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
