import { type Binder, type BinderOptions, type Channel, createBinder, sink } from 'concordat/binder'
import { memoryBroker, memoryTransport } from 'concordat/memory'
import { onTestFinished } from 'vitest'

/** Retries at once, so that tests need not wait for backoff. */
export const NO_PAUSE = Object.freeze({ initialMs: 0, maxMs: 0, jitter: 0 })

/** A started binder on memory, closed after the test. */
export async function running(options: Partial<BinderOptions> = {}): Promise<Binder> {
  const transport = options.transport ?? memoryTransport({ broker: memoryBroker() })
  const binder = createBinder({ service: 'test', transport, ...options })
  onTestFinished(() => binder.close())
  await binder.start()
  await binder.ready()
  return binder
}

export interface Kept<Out> {
  readonly payload: Out
  readonly key: string | null
  readonly id: string
  readonly headers: Readonly<Record<string, unknown>>
}

/** Sink in a group of its own that keeps its messages. */
export function keeper<In, Out>(
  channel: Channel<In, Out>,
  group = 'keeper',
): { readonly got: Kept<Out>[]; readonly binding: ReturnType<typeof sink> } {
  const got: Kept<Out>[] = []
  const binding = sink(channel, { group }, (payload, { key, id, headers }) => {
    got.push({ payload, key, id, headers })
  })
  return { got, binding }
}
