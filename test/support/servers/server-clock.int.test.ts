import { Redis } from 'ioredis'
import { expect, it } from 'vitest'
import { describeWith, serverClock, serverClockLack, startServer } from './index.ts'

const lack = process.env['CONCORDAT_REQUIRE_SERVERS'] === '1' ? undefined : serverClockLack()

describeWith(['redis'], 'the clock of a private server', { private: true }, () => {
  it.skipIf(lack)(`goes forward and back while the server runs${lack === undefined ? '' : ` (${lack})`}`, async () => {
    using clock = await serverClock()
    await using server = await startServer('redis', { env: clock.env })
    const client = new Redis(server.url)
    const aheadMs = async (): Promise<number> => Number((await client.time())[0]) * 1_000 - Date.now()
    try {
      await client.set('key', 'value', 'PX', 60_000)
      clock.shift(30_000)
      expect(Math.round((await aheadMs()) / 2_000)).toBe(15)
      expect(await client.pttl('key')).toBeLessThan(31_000)
      clock.shift(-3_600_000)
      expect(Math.round((await aheadMs()) / 60_000)).toBe(-60)
      expect(await client.pttl('key')).toBeGreaterThan(3_600_000)
      clock.shift(60_001)
      expect(await client.get('key')).toBeNull()
    } finally {
      client.disconnect()
    }
  })
})
