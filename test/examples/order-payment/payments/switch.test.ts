import { createBinder, sink } from 'concordat/binder'
import { ConfigChanged, createBus } from 'concordat/bus'
import { silentLogger } from 'concordat/core'
import { memoryBroker, memoryStateStore, memoryTransport } from 'concordat/memory'
import { expect, onTestFinished, test } from 'vitest'
import { paymentCommands } from '../../../../examples/order-payment/contracts.ts'
import type { ServiceEnvironment } from '../../../../examples/order-payment/environment.ts'
import { paymentsSwitch } from '../../../../examples/order-payment/payments/switch.ts'
import { openSettings, PAYMENTS_SWITCH } from '../../../../examples/order-payment/shared-state.ts'
import type { BindingStatus } from '../../../support/inside/binder.ts'

function setup() {
  const cluster = memoryStateStore()
  const settings = openSettings(cluster)
  const broker = memoryBroker()
  onTestFinished(async () => {
    await settings.close()
    await cluster.close()
  })
  const startPayments = async (instance: string): Promise<() => BindingStatus['state']> => {
    const events = paymentsSwitch({ cluster, instance, logger: silentLogger } as ServiceEnvironment)
    const commands = sink(paymentCommands, { group: 'payments' }, () => {})
    const binder = createBinder({
      service: 'payments',
      transport: memoryTransport({ broker }),
      bindings: [commands, ...events.bus.bindings],
      sends: events.bus.channels,
    })
    onTestFinished(async () => {
      await events.bus.close()
      await events.close()
      await binder.close()
    })
    await binder.start()
    events.follow(binder)
    await events.bus.start(binder)
    return () => binder.binding('payments.commands.payments').status().state
  }
  const operator = async () => {
    const members = () => [{ service: 'payments', group: 'default', instance: 'payments-1' }]
    const bus = createBus({ service: 'operator', members })
    const transport = memoryTransport({ broker })
    const binder = createBinder({ service: 'operator', transport, bindings: bus.bindings, sends: bus.channels })
    onTestFinished(async () => {
      await bus.close()
      await binder.close()
    })
    await binder.start()
    await bus.start(binder)
    return bus
  }
  return { settings, startPayments, operator }
}

test('an instance that is restarted while payments are off takes no orders', async () => {
  const { settings, startPayments } = setup()
  expect((await startPayments('payments-1'))()).toBe('running')
  await settings.put(PAYMENTS_SWITCH, { paused: true })
  expect((await startPayments('payments-2'))()).toBe('paused')
})

test('a switch is done when it is answered, and an older one no longer applies', async () => {
  const { settings, startPayments, operator } = setup()
  const state = await startPayments('payments-1')
  const bus = await operator()
  const publish = (paused: boolean, version: number) =>
    bus.publish(
      ConfigChanged,
      { name: PAYMENTS_SWITCH, value: { paused }, version },
      { to: 'payments:**', ackTimeoutMs: 10_000 },
    )
  const off = await settings.put(PAYMENTS_SWITCH, { paused: true })
  expect((await publish(true, off.version)).acked).toEqual(['payments:default:payments-1'])
  expect(state()).toBe('paused')
  const on = await settings.put(PAYMENTS_SWITCH, { paused: false })
  await publish(false, on.version)
  expect((await publish(true, off.version)).failed).toHaveLength(1)
  expect(state()).toBe('running')
})
