import { createBinder } from 'concordat/binder'
import { createBus, defineEvent, onEvent } from 'concordat/bus'
import { createMembership } from 'concordat/cluster'
import { memoryBroker, memoryStateServer, memoryStateStore, memoryTransport } from 'concordat/memory'
import { expect, it } from 'vitest'
import { z } from 'zod'
import { until } from '../../../support/until.ts'

const Cleared = defineEvent('cleared', { payload: z.object({}) })

it('a bus requests answers from the members of a cluster, and names the missing one', async () => {
  const [server, broker] = [memoryStateServer(), memoryBroker()]
  const join = async (service: string, hasBus: boolean) => {
    const membership = createMembership({ store: memoryStateStore({ server }), cluster: 'shop', service })
    const { instance } = membership
    const bus = createBus({
      service,
      instance,
      members: () => membership.members(),
      on: [onEvent(Cleared, () => {})],
    })
    const transport = memoryTransport({ broker })
    const binder = createBinder({ service, transport, bindings: bus.bindings, sends: bus.channels })
    if (hasBus) {
      await binder.start()
      await bus.start(binder)
    }
    await membership.join()
    const close = async (): Promise<void> => {
      await membership.close()
      await bus.close()
      await binder.close()
    }
    return { bus, membership, close }
  }
  const orders = await join('orders', true)
  const hung = await join('orders', false)
  const operator = await join('operator', true)
  await until('all see all', () => operator.membership.members().length === 3)
  const ask = () => operator.bus.publish(Cleared, {}, { to: 'orders:**', ackTimeoutMs: 200 })
  expect(await ask()).toMatchObject({
    acked: [`orders:default:${orders.membership.instance}`],
    missing: [`orders:default:${hung.membership.instance}`],
  })
  await hung.close()
  expect((await ask()).missing).toEqual([])
  await orders.close()
  await operator.close()
})
