import type { SuiteOptions } from '../main.ts'
import { wantedParts } from '../parts.ts'
import { provideServer } from '../servers.ts'
import { measureDrivers } from './drivers.ts'
import { measureBoth, measureKafka, measureKafkaWire, measurePlatformatic } from './kafka.ts'
import { measureMemory } from './memory.ts'
import { measureRabbit, measureRabbitWire } from './rabbitmq.ts'

const PARTS = [
  { part: 'kafka', kind: 'kafka', measure: measureKafka },
  { part: 'rabbitmq', kind: 'rabbitmq', measure: measureRabbit },
  { part: 'platformatic', kind: 'kafka', measure: measurePlatformatic },
  { part: 'both', kind: 'kafka', measure: measureBoth },
  { part: 'drivers', kind: 'kafka', measure: measureDrivers },
  { part: 'wire', kind: 'kafka', measure: measureKafkaWire },
  { part: 'wire', kind: 'rabbitmq', measure: measureRabbitWire },
] as const

/** The binder beside the bare driver that does the same confirmed work: same batch, same prefetch, same bytes. */
export async function binderSuite(options: SuiteOptions): Promise<void> {
  const wanted = wantedParts(options.only, [...new Set(['memory', ...PARTS.map(({ part }) => part)])])
  if (wanted('memory')) await measureMemory(options)
  for (const { part, kind, measure } of PARTS) {
    if (!wanted(part)) continue
    await using stack = new AsyncDisposableStack()
    const server = await provideServer(kind, stack)
    if ('missing' in server) options.skip(server.missing)
    else await measure(server.address, options)
  }
}
