import { kafkaTransport } from 'concordat/binder/kafka'
import { Kafka, logLevel } from 'kafkajs'
import { transportConformance } from '../../conformance/transport.ts'
import { describeWith, startServer } from '../../support/servers/index.ts'

describeWith(['kafka'], 'Kafka', () => {
  transportConformance('kafka', async () => {
    const server = await startServer('kafka')
    const kafka = new Kafka({ clientId: 'conformance', brokers: [server.url], logLevel: logLevel.NOTHING })
    return {
      transport: () => kafkaTransport({ kafka }),
      broker: { kill: () => server.kill(), restart: () => server.start() },
      close: () => server.stop(),
    }
  })
})
