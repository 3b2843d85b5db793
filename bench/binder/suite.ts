import type { SuiteOptions } from '../main.ts'
import { wantedParts } from '../parts.ts'
import { provideServer } from '../servers.ts'
import { measureKafka } from './kafka.ts'
import { measureMemory } from './memory.ts'
import { measureRabbit } from './rabbitmq.ts'

const BROKERS = { kafka: measureKafka, rabbitmq: measureRabbit } as const

/** The binder beside the bare driver that does the same confirmed work: same batch, same prefetch, same bytes. */
export async function binderSuite(options: SuiteOptions): Promise<void> {
  const wanted = wantedParts(options.only, ['memory', 'kafka', 'rabbitmq'])
  if (wanted('memory')) await measureMemory(options)
  for (const kind of ['kafka', 'rabbitmq'] as const) {
    if (!wanted(kind)) continue
    await using stack = new AsyncDisposableStack()
    const server = await provideServer(kind, stack)
    if ('missing' in server) options.skip(server.missing)
    else await BROKERS[kind](server.address, options)
  }
}
