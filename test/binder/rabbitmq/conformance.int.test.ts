import { rabbitTransport } from 'concordat/binder/rabbitmq'
import { silentLogger, systemClock } from 'concordat/core'
import { freshName, type TransportHarness, transportConformance } from '../../conformance/transport.ts'
import { createTestChannel } from '../../conformance/transport-kit.ts'
import { describeWith, startServer } from '../../support/servers/index.ts'

type Names = NonNullable<TransportHarness['delayedNames']>

/** A new delay queue is left alone for 2.5 s before it is relied on: once for all of them. */
async function makeDelays(url: string, { messages, attempts }: Names): Promise<void> {
  const transport = rabbitTransport({ url })
  transport.attach({ service: 'conformance', instance: 'delays', logger: silentLogger, clock: systemClock })
  const all = [...messages, ...attempts.map((name) => `${name}.g.retry`)]
  const { partitions } = createTestChannel('any')
  await transport.provision(all.map((name) => ({ name, partitions, groups: [], delays: true })))
  await transport.close()
}

describeWith(['rabbitmq'], 'rabbitmq', { private: true }, () => {
  transportConformance('rabbitmq', async () => {
    const server = await startServer('rabbitmq')
    // One name for each case; a further one would wait for a queue of its own.
    const delayedNames = {
      messages: Array.from({ length: 3 }, freshName),
      attempts: Array.from({ length: 10 }, freshName),
    }
    await makeDelays(server.url, delayedNames)
    return {
      transport: () => rabbitTransport({ url: server.url }),
      broker: { kill: () => server.kill(), restart: () => server.start() },
      delayedNames,
      close: () => server.stop(),
    }
  })
})
