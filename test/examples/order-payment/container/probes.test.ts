import type { ServiceHealth } from 'concordat/service'
import { expect, onTestFinished, test } from 'vitest'
import { openProbes } from '../../../../examples/order-payment/container/probes.ts'

test('the probes follow the health of the service: waiting for a broker is live and not ready', async () => {
  let health: ServiceHealth = { status: 'down', live: true, ready: false, parts: { binder: { status: 'connecting' } } }
  const probes = await openProbes(0, () => health)
  onTestFinished(() => probes.close())
  const ask = async (path: string): Promise<number> => (await fetch(`http://127.0.0.1:${probes.port}${path}`)).status
  expect([await ask('/live'), await ask('/ready')]).toEqual([200, 503])
  health = { ...health, status: 'up', ready: true }
  expect([await ask('/live'), await ask('/ready')]).toEqual([200, 200])
  health = { ...health, status: 'down', live: false, ready: false }
  expect([await ask('/live'), await ask('/ready'), await ask('/')]).toEqual([503, 503, 404])
})
