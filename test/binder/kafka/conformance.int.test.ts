import { transportConformance } from '../../conformance/transport.ts'
import { kafkaOn } from '../../support/kafka-driver.ts'
import { describeWith, startServer } from '../../support/servers/index.ts'

describeWith(['kafka'], 'Kafka', () => {
  transportConformance('kafka', async () => {
    const server = await startServer('kafka')
    return {
      transport: () => kafkaOn(server.url),
      broker: { kill: () => server.kill(), restart: () => server.start() },
      close: () => server.stop(),
    }
  })
})
