import { type Binder, type BinderOptions, createBinder } from 'concordat/binder'
import { type Bus, createBus, defineEvent, type EventContext, onEvent } from 'concordat/bus'
import type { Transport } from 'concordat/extension'
import { onTestFinished } from 'vitest'
import { z } from 'zod'
import type { BusOptions } from '../support/inside/bus.ts'

export const Ping = defineEvent('ping', { payload: z.object({ n: z.number().int() }) })

export const SECRET = 'a-secret-of-at-least-thirty-two-bytes'

export interface Instance {
  readonly bus: Bus
  readonly binder: Binder
  readonly pings: number[]
  readonly contexts: EventContext[]
}

export interface InstanceOptions extends Partial<BusOptions> {
  readonly binderOptions?: Partial<BinderOptions>
  /** Runs in the handler of `Ping`, after the ping is recorded. */
  readonly onPing?: (n: number, context: EventContext) => void | Promise<void>
}

/** Instance of a service: not started, and closed after the test. It records the pings it handles. */
export function created(transport: Transport, options: InstanceOptions = {}): Instance {
  const { binderOptions = {}, onPing, on = [], service = 'orders', ...busOptions } = options
  const pings: number[] = []
  const contexts: EventContext[] = []
  const note = onEvent(Ping, async ({ n }, context) => {
    pings.push(n)
    contexts.push(context)
    await onPing?.(n, context)
  })
  const bus = createBus({ service, on: [note, ...on], heartbeatMs: 1_000, ...busOptions })
  const binder = createBinder({
    service,
    transport,
    ...binderOptions,
    bindings: [...(binderOptions.bindings ?? []), ...bus.bindings],
    sends: bus.channels,
  })
  onTestFinished(async () => {
    await bus.close()
    await binder.close()
  })
  return { bus, binder, pings, contexts }
}

/** The same, started and ready. */
export async function started(transport: Transport, options: InstanceOptions = {}): Promise<Instance> {
  const instance = created(transport, options)
  const { bus, binder } = instance
  await binder.start()
  await binder.ready({ timeoutMs: 60_000 })
  await bus.start(binder)
  await bus.ready({ timeoutMs: 60_000, acks: true })
  return instance
}

export const sortedAddresses = (instances: readonly Instance[]): string[] =>
  instances.map(({ bus }) => bus.address).sort()
