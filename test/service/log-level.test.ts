import { createBus, SetLogLevel } from 'concordat/bus'
import { silentLogger } from 'concordat/core'
import { memoryTransport } from 'concordat/memory'
import { createService } from 'concordat/service'
import { expect, test } from 'vitest'

test('SetLogLevel sets the level of the logger of a service, as pino has it', async () => {
  const child = { ...silentLogger, level: 'info' }
  await using shop = createService({
    name: 'shop',
    transport: memoryTransport(),
    logger: Object.assign({ child: () => child }, silentLogger),
    bus: (identity) => createBus({ ...identity, heartbeatMs: 100 }),
  })
  await shop.start()
  await shop.ready()
  await shop.bus?.ready({ acks: true })
  const answer = await shop.bus?.publish(SetLogLevel, { level: 'debug' }, { to: '**', ack: true })
  expect(answer).toMatchObject({ failed: [] })
  expect(child.level).toBe('debug')
})
