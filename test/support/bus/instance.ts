/** Instance of a service in a process of its own: `instance.ts URL CHANNEL SERVICE INSTANCE`. Killed by the test. */
import { createBinder } from 'concordat/binder'
import { rabbitTransport } from 'concordat/binder/rabbitmq'
import { createBus, onEvent } from 'concordat/bus'
import { Ping, type Report, SECRET } from './contract.ts'

const [url = '', channel = '', service = '', instance = ''] = process.argv.slice(2)
const report = (each: Report): void => void process.send?.(each)

process.on('disconnect', () => process.exit(1))
const bus = createBus({
  service,
  instance,
  channel,
  secret: SECRET,
  heartbeatMs: 1_000,
  on: [onEvent(Ping, ({ n }) => report({ did: 'ping', n }))],
  onShutdown: async () => {
    await bus.close()
    await binder.close()
    process.exit(0)
  },
})
const transport = rabbitTransport({ url })
const binder = createBinder({ service, transport, bindings: bus.bindings, sends: bus.channels })
await binder.start()
await binder.ready()
await bus.start(binder)
await bus.ready()
report({ did: 'ready' })
