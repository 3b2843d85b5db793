/**
 * Creates an AsyncAPI 3 document from the declarations that validate and route at run time, so that it cannot differ from them.
 */
import type { Channel } from 'concordat/binder'
import { readSystem } from 'concordat/operator'
import type { SystemChannel } from '../engine-types.ts'
import type { AsyncapiChannel, AsyncapiDocument, JsonObject } from './document-types.ts'
import { HEADER_SCHEMAS, headerSchemaNames } from './headers.ts'
import { hasSchema, messageOf, type Writing } from './messages.ts'
import { operationsOf } from './operations.ts'
import { type AsyncapiOptions, type ResolvedAsyncapi, resolveAsyncapi } from './options.ts'
import { jsonSchemaOf, Schemas } from './payload-schemas.ts'

/**
 * Creates the AsyncAPI 3 document of these services: channels with JSON Schema, the channels that each service sends to and
 * receives from, bindings for Kafka and RabbitMQ, CloudEvents headers. Runs and connects nothing. The same declarations give the
 * same text.
 * @throws TypeError / RangeError with the name of the option or the declaration; SchemaError for an example that does not match
 */
export async function asyncapi(options: AsyncapiOptions): Promise<AsyncapiDocument> {
  const resolved = resolveAsyncapi(options)
  const system = readSystem('asyncapi', resolved.services)
  const reserved = [...system.topology.channels.map(({ name }) => name), ...system.declared.keys()]
  const headers = [...headerSchemaNames(resolved.protocols), ...Object.keys(HEADER_SCHEMAS)]
  const writing: Writing = { options: resolved, system, schemas: new Schemas([...reserved, ...headers]) }
  const isShown = ({ role }: SystemChannel): boolean =>
    resolved.internals || (role !== 'dead-letters' && role !== 'retries')
  const shown = system.topology.channels.filter(isShown)
  requireOneSchema(writing)
  const written: Array<readonly [string, AsyncapiChannel]> = []
  for (const channel of shown.toSorted((a, b) => (a.name < b.name ? -1 : 1))) {
    written.push([channel.name, await channelOf(writing, channel)])
  }
  // From entries, because an assignment to `__proto__` would create no field.
  const channels = Object.fromEntries(written)
  const messages = new Map(shown.map(({ name, of }) => [name, of ?? name]))
  const text = JSON.stringify(channels)
  for (const name of headers) {
    if (text.includes(`#/components/schemas/${name}"`)) writing.schemas.add(name, HEADER_SCHEMAS[name] as JsonObject)
  }
  return {
    asyncapi: '3.0.0',
    info: resolved.info,
    ...(resolved.servers !== undefined && { servers: resolved.servers }),
    defaultContentType: 'application/json',
    channels,
    operations: operationsOf({ options: resolved, system, messages }),
    components: { schemas: writing.schemas.all() },
  }
}

/** @throws TypeError for a channel that two services declare with different payloads */
function requireOneSchema({ options, system }: Writing): void {
  const known = new Map<string, { readonly service: string; readonly text: string }>()
  for (const { service, channel } of system.declarations) {
    if (!hasSchema(channel) || options.schemas?.[channel.name] !== undefined) continue
    const path = `channel("${channel.name}") of ${service}`
    const text = JSON.stringify([channel.version ?? 1, jsonSchemaOf(path, channel.schema)])
    const first = known.get(channel.name)
    if (first === undefined) known.set(channel.name, { service, text })
    else if (first.text !== text) {
      throw new TypeError(
        `asyncapi: ${path}: its payload is not the one that ${first.service} declares. Share one declaration.`,
      )
    }
  }
}

async function channelOf(writing: Writing, channel: SystemChannel): Promise<AsyncapiChannel> {
  const { name, role, partitions, retentionMs, otherGroups, readers, of } = channel
  const declared = writing.system.declared.get(of ?? name) as Partial<Channel> | undefined
  const { version = 1, upcasts = {} } = declared ?? {}
  const isBelow = role === 'replies' && readers.length === 0 && !name.endsWith('.saga-replies')
  const groups = [...new Set([...readers.flatMap(({ group }) => group ?? []), ...otherGroups])]
  return {
    address: isBelow ? null : name,
    ...(DESCRIPTIONS[role] !== undefined && { description: DESCRIPTIONS[role](of ?? name) }),
    messages: { [of ?? name]: await messageOf(writing, channel) },
    ...channelBindings(writing.options, channel, isBelow),
    'x-concordat': {
      role,
      partitions,
      groups,
      keyed: declared?.key !== undefined,
      version,
      reads: [...Object.keys(upcasts).map(Number), version],
      ...(retentionMs !== null && { retentionMs }),
    },
  }
}

const DESCRIPTIONS: Readonly<Partial<Record<SystemChannel['role'], (of: string) => string>>> = {
  'dead-letters': (of) => `Messages of ${of} that failed for good.`,
  retries: (of) => `Messages of ${of} that wait for their next attempt.`,
  replies: () => 'Answers, for who asked.',
}

function channelBindings(
  { protocols }: ResolvedAsyncapi,
  { name, partitions, retentionMs }: SystemChannel,
  isBelow: boolean,
): { bindings?: JsonObject } {
  if (protocols.length === 0 || isBelow) return {}
  const kafka = {
    topic: name,
    partitions,
    ...(retentionMs !== null && { topicConfiguration: { 'retention.ms': retentionMs } }),
    bindingVersion: '0.5.0',
  }
  const amqp = {
    is: 'routingKey',
    exchange: { name, type: 'direct', durable: true, autoDelete: false },
    bindingVersion: '0.3.0',
  }
  return { bindings: { ...(protocols.includes('kafka') && { kafka }), ...(protocols.includes('amqp') && { amqp }) } }
}
