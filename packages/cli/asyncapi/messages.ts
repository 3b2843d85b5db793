/** The message of a channel: its payload, headers and examples. */
import { type Channel, VERSION_HEADER } from 'concordat/binder'
import { validate } from 'concordat/core'
import type { System } from 'concordat/operator'
import type { SystemChannel } from '../engine-types.ts'
import type { AsyncapiMessage, JsonObject } from './document-types.ts'
import { exampleHeaders, headersOf, SAGA_REPLY } from './headers.ts'
import type { ResolvedAsyncapi } from './options.ts'
import { jsonSchemaOf, type Schemas } from './payload-schemas.ts'

export interface Writing {
  readonly options: ResolvedAsyncapi
  readonly system: System
  readonly schemas: Schemas
}

type Declared = System['declarations'][number]['channel']

/** False if a service declares only the location of a channel. */
export function hasSchema(declared: Declared | undefined): declared is Channel {
  return declared !== undefined && 'schema' in declared
}

const UNDESCRIBED =
  'Anything: the library of its schema has no JSON Schema (zod has from 4.2, valibot with toStandardJsonSchema). ' +
  'Give it by hand in `schemas`.'
const NO_SCHEMA = 'Anything: none of these services declares its payload.'

/**
 * The message of a channel. Dead letters and retries contain the messages of another channel.
 * @throws TypeError for an example that does not match, SchemaError
 */
export async function messageOf(writing: Writing, channel: SystemChannel): Promise<AsyncapiMessage> {
  const { options, system, schemas } = writing
  const origin = channel.of ?? channel.name
  const declared = system.declared.get(origin) ?? system.declared.get(channel.name)
  const full = hasSchema(declared) ? declared : undefined
  const payload =
    schemas.get(origin) === undefined ? schemas.add(origin, payloadOf(writing, origin, full)) : refTo(origin)
  const { version = 1 } = full ?? {}
  const headers = headersOf(
    options.protocols,
    headerNames(writing, channel, origin),
    version > 1
      ? { [VERSION_HEADER]: { type: ['integer', 'string'], description: `${version}: the version of the payload.` } }
      : {},
  )
  const examples = channel.role === 'channel' ? await examplesOf(writing, origin, full) : []
  return {
    name: origin,
    contentType: full?.codec.contentType ?? 'application/json',
    headers,
    payload: full?.tombstones === true ? { oneOf: [payload, { type: 'null' }] } : payload,
    ...(examples.length > 0 && { examples }),
    ...messageBindings(options, full),
  }
}

const refTo = (name: string): JsonObject => ({ $ref: `#/components/schemas/${name}` })

function payloadOf({ options, system }: Writing, name: string, channel: Channel | undefined): JsonObject {
  const given = options.schemas?.[name]
  if (given !== undefined) return given
  if (isSagaReplies(system, name)) return SAGA_REPLY
  if (channel === undefined) return { description: NO_SCHEMA }
  return jsonSchemaOf(`channel("${name}")`, channel.schema) ?? { description: UNDESCRIBED }
}

export function isSagaReplies({ topology }: System, name: string): boolean {
  return topology.services.some(({ name: service, sagas }) => sagas.length > 0 && name === `${service}.saga-replies`)
}

/** Headers that the package adds, by the role of the channel. */
function headerNames({ system }: Writing, { role }: SystemChannel, origin: string): readonly string[] {
  const { services } = system.topology
  const bindings = services.flatMap((service) => service.bindings)
  const isCommand = services.some(({ sagas }) => sagas.some(({ steps }) => steps.some(({ to }) => to === origin)))
  const isRequest = bindings.some(({ input, answers }) => input === origin && answers !== null)
  const isReply = role === 'replies' && !isSagaReplies(system, origin)
  return [
    ...(isCommand ? ['SagaCommandHeaders'] : []),
    ...(isRequest ? ['RequestHeaders'] : []),
    ...(isReply ? ['ReplyHeaders'] : []),
    ...(role === 'dead-letters' ? ['DeadLetterHeaders'] : []),
    ...(role === 'retries' ? ['RetryHeaders'] : []),
  ]
}

function messageBindings({ protocols }: ResolvedAsyncapi, channel: Channel | undefined): { bindings?: JsonObject } {
  const keyed = channel?.key === undefined ? {} : { key: { type: 'string', description: KEYED } }
  const bindings = {
    ...(protocols.includes('kafka') && { kafka: { ...keyed, bindingVersion: '0.5.0' } }),
    ...(protocols.includes('amqp') && { amqp: { messageType: channel?.name ?? 'message', bindingVersion: '0.3.0' } }),
  }
  return protocols.length === 0 ? {} : { bindings }
}

const KEYED = 'Messages of one key keep their order.'

/** The examples of the options, otherwise those of the schema. */
async function examplesOf(
  { options, system, schemas }: Writing,
  name: string,
  channel: Channel | undefined,
): Promise<readonly JsonObject[]> {
  const own = schemas.get(name)?.['examples']
  const payloads = options.examples?.[name] ?? (Array.isArray(own) ? own : [])
  for (const [n, payload] of payloads.entries()) {
    if (channel !== undefined) await validate(`asyncapi.examples["${name}"][${n}]`, channel.schema, payload)
  }
  const [protocol] = options.protocols
  const [source = 'another'] = system.topology.channels.find((each) => each.name === name)?.senders ?? []
  return payloads.map((payload: unknown) => ({
    payload,
    ...(protocol !== undefined && { headers: exampleHeaders(protocol, name, source) }),
  }))
}
