import { randomUUID } from 'node:crypto'
import { defineChannel, encodeMessage } from 'concordat/binder'
import { silentLogger, systemClock } from 'concordat/core'
import { memoryBroker, memoryTransport } from 'concordat/memory'
import { z } from 'zod'
import { type HostileHarness, hostileCases } from '../../conformance/hostile.ts'

hostileCases('memory', async (): Promise<HostileHarness> => {
  const broker = memoryBroker()
  const raw = memoryTransport({ broker })
  raw.attach({ service: 'raw', instance: 'raw', logger: silentLogger, clock: systemClock })
  const any = defineChannel('any', { payload: z.any() })
  return {
    transport: () => memoryTransport({ broker }),
    limits: { headers: 10_000, headerBytes: 1_000_000, bodyBytes: 10_000_000 },
    async send(destination, messages) {
      const plain = await encodeMessage(any, null, 'raw')
      await raw.publish(
        messages.map(({ body, headers = [], contentType = 'application/json' }) => ({
          ...plain,
          id: randomUUID(),
          destination,
          contentType,
          headers: Object.fromEntries(headers),
          body,
        })),
      )
    },
    close: () => raw.close(),
  }
})
