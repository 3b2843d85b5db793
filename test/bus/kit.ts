import type { Binder, EncodedMessage } from 'concordat/binder'
import { createBinder } from 'concordat/binder'
import type { Logger } from 'concordat/core'
import type { Transport } from 'concordat/extension'
import { type MemoryBroker, memoryBroker, memoryTransport } from 'concordat/memory'
import { onTestFinished } from 'vitest'
import { type Instance, type InstanceOptions, started } from '../conformance/bus-kit.ts'
import type { HeaderValue } from '../support/inside/binder.ts'
import { newId } from '../support/inside/core.ts'

export interface Line {
  readonly level: string
  readonly fields: Readonly<Record<string, unknown>>
  readonly message: string
}

export function keepingLogger(): Logger & { readonly lines: Line[]; level: string } {
  const lines: Line[] = []
  const at = (level: string) => (fields: Readonly<Record<string, unknown>>, message: string) => {
    lines.push({ level, fields, message })
  }
  return { lines, level: 'info', debug: at('debug'), info: at('info'), warn: at('warn'), error: at('error') }
}

export interface World {
  readonly broker: MemoryBroker
  readonly transport: () => Transport
  readonly join: (options?: InstanceOptions) => Promise<Instance>
  /** An attacker with write access to the broker. */
  readonly intruder: () => Promise<Intruder>
}

export interface Intruder {
  readonly binder: Binder
  /** Every message of the events channel, in order of arrival. */
  readonly heard: EncodedMessage[]
  send(headers: Readonly<Record<string, HeaderValue>>, message?: Partial<EncodedMessage>): Promise<void>
}

export function world(): World {
  const broker = memoryBroker()
  const transport = (): Transport => memoryTransport({ broker })
  return {
    broker,
    transport,
    join: (options = {}) => started(transport(), options),
    intruder: async () => {
      const own = transport()
      const binder = createBinder({ service: 'intruder', transport: own })
      onTestFinished(() => binder.close())
      await binder.start()
      const heard: EncodedMessage[] = []
      const spec = {
        destination: 'concordat.bus.events',
        partitions: 1,
        group: null,
        prefetch: 100,
        prefetchBytes: 1e9,
      }
      await own.subscribe(spec, {
        deliver: (delivery) => {
          heard.push(delivery.message)
          delivery.ack()
        },
        recall: () => {},
        lost: () => {},
      })
      return { binder, heard, send: (headers, message) => intrude(binder, headers, message) }
    },
  }
}

export const EVENT_HEADERS = Object.freeze({
  'bus-version': 1,
  'bus-from': 'orders:default:intruder',
  'bus-event': 'ping',
  'bus-to': '**',
})

async function intrude(
  binder: Binder,
  headers: Readonly<Record<string, HeaderValue>>,
  message: Partial<EncodedMessage> = {},
): Promise<void> {
  const destination = 'concordat.bus.events'
  const fixed = { destination, key: 'bus', type: destination, source: 'intruder', contentType: 'application/json' }
  const body = Buffer.from('{"n":666}')
  const [problem] = await binder.publish([{ ...fixed, id: newId(), time: Date.now(), body, headers, ...message }])
  if (problem !== undefined) throw problem
}
