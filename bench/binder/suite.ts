import { addressInEnvironment, type ServerKind, ServerUnavailable } from '../../test/support/servers/kinds.ts'
import { startServer } from '../../test/support/servers/start.ts'
import type { SuiteOptions } from '../main.ts'
import { measureKafka } from './kafka.ts'
import { measureMemory } from './memory.ts'
import { measureRabbit } from './rabbitmq.ts'

/** The binder beside the bare driver that does the same confirmed work: same batch, same prefetch, same bytes. */
export async function binderSuite(options: SuiteOptions): Promise<void> {
  const wanted = (name: string): boolean => options.only.length === 0 || options.only.includes(name)
  if (wanted('memory')) await measureMemory(options)
  if (wanted('kafka')) await withServer('kafka', options, (address) => measureKafka(address, options))
  if (wanted('rabbitmq')) await withServer('rabbitmq', options, (address) => measureRabbit(address, options))
}

/** The address in the environment, else a private server for the time of `work`. */
async function withServer(
  kind: ServerKind,
  options: SuiteOptions,
  work: (address: string) => Promise<void>,
): Promise<void> {
  const address = addressInEnvironment(kind)
  if (address !== undefined) return work(address)
  try {
    await using server = await startServer(kind)
    await work(server.url)
  } catch (error) {
    if (!(error instanceof ServerUnavailable)) throw error
    options.skip(error.message)
  }
}
