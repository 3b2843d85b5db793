import { kafkaTransport } from 'concordat/binder/kafka'
import { Kafka, logLevel } from 'kafkajs'
import { busConformance } from '../conformance/bus.ts'
import { describeWith, serverUrl } from '../support/servers/index.ts'

describeWith(['kafka'], 'Kafka', () => {
  busConformance('kafka', async () => {
    const brokers = (serverUrl('kafka') as string).split(',')
    const kafka = new Kafka({ clientId: 'bus', brokers, logLevel: logLevel.NOTHING })
    return { transport: () => kafkaTransport({ kafka }), close: async () => {} }
  })
})
