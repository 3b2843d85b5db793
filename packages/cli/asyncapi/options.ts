import { invalidOption, optionNames, refuseUnknown, requireText, wrongKind } from 'concordat/extension'
import type { Describable } from 'concordat/operator'
import type { AsyncapiInfo, AsyncapiServer, JsonObject } from './document-types.ts'
import type { Protocol } from './headers.ts'

/** Options of `asyncapi`. */
export interface AsyncapiOptions {
  /** The services: the result of `createService`, started or not, its options, or the declarations of a service. */
  readonly services: readonly Describable[]
  /** Title and version of the document, and other fields of AsyncAPI. */
  readonly info: AsyncapiInfo
  /**
   * The brokers, by name. They determine whose bindings and headers are written: Kafka's, RabbitMQ's (`amqp`), or both without
   * servers. @default none
   */
  readonly servers?: Readonly<Record<string, AsyncapiServer>> | undefined
  /** Examples of payloads, by channel; each is checked with the channel's schema. @default the schema's own `examples` */
  readonly examples?: Readonly<Record<string, readonly unknown[]>> | undefined
  /**
   * JSON Schema of payloads, by channel, if the schema's library cannot create it. @default the schema's own; without it the
   * payload may be anything, and its description says so
   */
  readonly schemas?: Readonly<Record<string, JsonObject>> | undefined
  /** False leaves out the channels of dead letters and retries. @default true */
  readonly internals?: boolean | undefined
}

export interface ResolvedAsyncapi extends AsyncapiOptions {
  readonly protocols: readonly Protocol[]
  readonly internals: boolean
}

const NAMES = optionNames<AsyncapiOptions>({
  services: true,
  info: true,
  servers: true,
  examples: true,
  schemas: true,
  internals: true,
})

const BOTH: readonly Protocol[] = ['kafka', 'amqp']
const PROTOCOLS: Readonly<Record<string, Protocol>> = {
  kafka: 'kafka',
  'kafka-secure': 'kafka',
  amqp: 'amqp',
  amqps: 'amqp',
}

/** @throws TypeError with the name of the option */
export function resolveAsyncapi(options: AsyncapiOptions): ResolvedAsyncapi {
  refuseUnknown('asyncapi', options, NAMES)
  const { info, servers, internals = true } = options
  if (typeof info !== 'object' || info === null) throw wrongKind('asyncapi.info', info, '{ title, version }')
  requireText('asyncapi.info.title', info.title)
  requireText('asyncapi.info.version', info.version)
  if (typeof internals !== 'boolean') throw invalidOption('asyncapi.internals', internals, 'true or false')
  const used = Object.entries(servers ?? {}).map(([name, server]) => protocolOf(name, server))
  const protocols = servers === undefined ? BOTH : BOTH.filter((protocol) => used.includes(protocol))
  return {
    ...options,
    examples: byChannel(options.examples),
    schemas: byChannel(options.schemas),
    protocols,
    internals,
  }
}

/** Without a prototype, because a channel may have the name of one of its members. */
function byChannel<T>(given: Readonly<Record<string, T>> | undefined): Readonly<Record<string, T>> {
  return Object.setPrototypeOf({ ...given }, null) as Readonly<Record<string, T>>
}

/** `undefined` for a broker without AsyncAPI bindings here. */
function protocolOf(name: string, server: AsyncapiServer): Protocol | undefined {
  const path = `asyncapi.servers.${name}`
  if (!/^[\w.-]+$/.test(name)) throw invalidOption('asyncapi.servers', name, 'names out of A-Z a-z 0-9 . _ -')
  requireText(`${path}.host`, server?.host)
  return PROTOCOLS[requireText(`${path}.protocol`, server.protocol)]
}
