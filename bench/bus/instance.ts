/** Idle instance with twenty bindings, of which the bench measures the cost. */
import { createBinder, defineChannel, sink } from 'concordat/binder'
import { createBus } from 'concordat/bus'
import { z } from 'zod'
import { endWithParent } from '../processes.ts'
import { type InstanceReport, type Measure, transportOf } from './reported.ts'

const [broker = '', address = '', channel = ''] = process.argv.slice(2)
endWithParent()
const report = (what: InstanceReport): void => void process.send?.(what)

const bindings = Array.from({ length: 20 }, (_, n) =>
  sink(defineChannel(`${channel}.work.${n}`, { payload: z.object({}), partitions: 1 }), { group: 'bench' }, () => {}),
)
const bus = createBus({
  service: 'bench',
  instance: 'bench-1',
  channel,
  secret: 'a secret of the bench: 32 bytes long',
})
const binder = createBinder({
  service: 'bench',
  transport: transportOf(broker, address),
  bindings: [...bindings, ...bus.bindings],
  sends: bus.channels,
})
await binder.start()
await binder.ready({ timeoutMs: 60_000 })
await bus.start(binder)
await bus.ready({ timeoutMs: 60_000 })
report({ did: 'ready' })

process.on('message', ({ seconds }: Measure) => {
  const before = process.cpuUsage()
  setTimeout(() => {
    const { user, system } = process.cpuUsage(before)
    report({ did: 'measured', cpu: (user + system) / 1e6 / seconds })
  }, seconds * 1_000)
})
