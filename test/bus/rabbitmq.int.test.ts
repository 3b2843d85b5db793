import { rabbitTransport } from 'concordat/binder/rabbitmq'
import { busConformance } from '../conformance/bus.ts'
import { describeWith, serverUrl } from '../support/servers/index.ts'

describeWith(['rabbitmq'], 'RabbitMQ', () => {
  busConformance('rabbitmq', async () => {
    const url = serverUrl('rabbitmq') as string
    return { transport: () => rabbitTransport({ url }), close: async () => {} }
  })
})
