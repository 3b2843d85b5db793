/**
 * Measures the cost of an instance's reports while a watch runs: CPU time of its process, against one without a watch.
 */
import { createBinder } from 'concordat/binder'
import { createBus } from 'concordat/bus'
import { median } from '../compare.ts'
import type { SuiteOptions } from '../main.ts'
import { wantedParts } from '../parts.ts'
import { Worker } from '../processes.ts'
import { provideServer } from '../servers.ts'
import { number } from '../table.ts'
import { type InstanceReport, transportOf } from './reported.ts'

const BROKERS = ['rabbitmq', 'kafka'] as const
const SECONDS = 15
const SECRET = 'a secret of the bench: 32 bytes long'

export async function busSuite(options: SuiteOptions): Promise<void> {
  const wanted = wantedParts(options.only, BROKERS)
  const rows: string[][] = []
  for (const broker of BROKERS) {
    if (!wanted(broker)) continue
    await using stack = new AsyncDisposableStack()
    const server = await provideServer(broker, stack)
    if ('missing' in server) options.skip(server.missing)
    else rows.push(await reports(broker, server.address, options))
  }
  const head = ['broker', 'not watched', 'watched, each 2 s', 'watched, each 1 s', 'a report']
  options.report({ title: 'CPU of an instance with 20 bindings, of one core', head, rows })
}

async function reports(broker: string, address: string, { progress, rounds }: SuiteOptions): Promise<string[]> {
  await using stack = new AsyncDisposableStack()
  const channel = `bench-bus-${process.pid}-${Date.now()}`
  const worker = stack.use(
    new Worker<InstanceReport>(new URL('./instance.ts', import.meta.url), [broker, address, channel]),
  )
  await worker.report('ready')
  const bus = createBus({ service: 'operator', instance: 'bench', channel, secret: SECRET })
  const transport = transportOf(broker, address)
  const binder = createBinder({ service: 'operator', transport, bindings: bus.bindings, sends: bus.channels })
  stack.defer(() => binder.close())
  stack.defer(() => bus.close())
  await binder.start()
  await bus.start(binder)
  await bus.ready({ timeoutMs: 60_000, acks: true })
  const measured = async (what: string): Promise<number> => {
    progress(`${broker}, ${what}, ${SECONDS} s`)
    worker.tell({ seconds: SECONDS })
    const found = await worker.report('measured')
    return found.did === 'measured' ? found.cpu : Number.NaN
  }
  const sides: Record<'idle' | 'slow' | 'fast', number[]> = { idle: [], slow: [], fast: [] }
  for (let round = 0; round < rounds; round++) {
    sides.idle.push(await measured('not watched'))
    for (const [side, everyMs] of [['slow', 2_000] as const, ['fast', 1_000] as const]) {
      const watch = await bus.watch({ everyMs })
      sides[side].push(await measured(`watched each ${everyMs} ms`))
      if (watch.instances()[0]?.bindings.length !== 20) throw new Error('the instance did not report')
      await watch.close()
    }
    // The members keep answering the report request for a while.
    await new Promise((resolve) => setTimeout(resolve, 17_000))
  }
  const [idle, slow, fast] = [sides.idle, sides.slow, sides.fast].map(median) as [number, number, number]
  const each = fast - idle
  return [broker, percent(idle), percent(slow), percent(fast), `${number(each * 1_000)} ms`]
}

function percent(share: number): string {
  return `${number(100 * share)} %`
}
