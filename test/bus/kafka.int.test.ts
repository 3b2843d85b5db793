import { busConformance } from '../conformance/bus.ts'
import { kafkaOn } from '../support/kafka-driver.ts'
import { describeWith, serverUrl } from '../support/servers/index.ts'

describeWith(['kafka'], 'Kafka', () => {
  busConformance('kafka', async () => {
    const brokers = serverUrl('kafka') as string
    return { transport: () => kafkaOn(brokers), close: async () => {} }
  })
})
