import { rabbitTransport } from 'concordat/binder/rabbitmq'
import { transportConformance } from '../../conformance/transport.ts'
import { describeWith, startServer } from '../../support/servers/index.ts'

describeWith(['rabbitmq'], 'rabbitmq', { private: true }, () => {
  transportConformance('rabbitmq', async () => {
    const server = await startServer('rabbitmq')
    return {
      transport: () => rabbitTransport({ url: server.url }),
      broker: { kill: () => server.kill(), restart: () => server.start() },
      close: () => server.stop(),
    }
  })
})
