/** Operations of services: `receive` for each binding, `send` for each channel that it sends to. */
import type { System } from 'concordat/operator'
import type { SystemBinding, SystemChannel, SystemService } from '../engine-types.ts'
import type { AsyncapiOperation, JsonObject } from './document-types.ts'
import type { ResolvedAsyncapi } from './options.ts'

export interface Written {
  readonly options: ResolvedAsyncapi
  readonly system: System
  /** Channels of the document, by name, with the key of their message. */
  readonly messages: ReadonlyMap<string, string>
}

/** By key: `<service>.receive.<binding>` and `<service>.send.<channel>`. */
export function operationsOf(written: Written): Readonly<Record<string, AsyncapiOperation>> {
  const operations: Record<string, AsyncapiOperation> = {}
  const add = (key: string, operation: AsyncapiOperation): void => {
    const legal = key.replaceAll(/[^\w.-]/g, '_')
    let free = legal
    for (let n = 2; Object.hasOwn(operations, free); n++) free = `${legal}.${n}`
    operations[free] = operation
  }
  for (const service of written.system.topology.services) {
    for (const binding of service.bindings) {
      for (const channel of [binding.input, binding.retries]) {
        if (channel === null || !written.messages.has(channel)) continue
        const key = channel === binding.input ? binding.name : `${binding.name}.retry`
        add(`${service.name}.receive.${key}`, receive(written, service, binding, channel))
      }
    }
    for (const channel of sentBy(written.system, service)) {
      if (written.messages.has(channel)) add(`${service.name}.send.${channel}`, send(written, service, channel))
    }
  }
  return operations
}

function sentBy({ topology }: System, { name }: SystemService): readonly string[] {
  return topology.channels.filter(({ senders }) => senders.includes(name)).map((channel) => channel.name)
}

function receive(
  { options: { protocols }, system, messages }: Written,
  { name: service }: SystemService,
  { name, kind, group, deadLetters, answers, input }: SystemBinding,
  channel: string,
): AsyncapiOperation {
  const bindings = {
    ...(protocols.includes('kafka') && group !== null && { kafka: groupId(group, channel) }),
    ...(protocols.includes('amqp') && { amqp: { ack: true, bindingVersion: '0.3.0' } }),
  }
  const isCommand = system.topology.services.some(({ sagas }) =>
    sagas.some(({ steps }) => steps.some(({ to }) => to === input)),
  )
  return {
    action: 'receive',
    ...place(channel, messages),
    summary: group === null ? `Each instance of ${service} gets every message.` : `Group ${group} of ${service}.`,
    tags: [{ name: service }],
    ...(Object.keys(bindings).length > 0 && { bindings }),
    ...(answers !== null && messages.has(answers)
      ? { reply: { address: { location: '$message.header#/request-reply-to' }, ...place(answers, messages) } }
      : isCommand && { reply: { address: { location: '$message.header#/saga-reply-to' } } }),
    'x-concordat': { service, binding: name, kind, group, deadLetters },
  }
}

function groupId(group: string, channel: string): JsonObject {
  return { groupId: { type: 'string', enum: [`${group}.${channel}`] }, bindingVersion: '0.5.0' }
}

function send(
  { options: { protocols }, system, messages }: Written,
  service: SystemService,
  channel: string,
): AsyncapiOperation {
  const bindings = {
    ...(protocols.includes('amqp') && {
      amqp: { deliveryMode: 2, mandatory: true, timestamp: true, bindingVersion: '0.3.0' },
    }),
  }
  const replies = repliesTo(system, service, channel)
  const from = service.bindings.flatMap(({ name, outputs }) => (outputs.includes(channel) ? [name] : []))
  const sagas = service.sagas.filter(({ steps }) => steps.some(({ to }) => to === channel))
  return {
    action: 'send',
    ...place(channel, messages),
    tags: [{ name: service.name }],
    ...(Object.keys(bindings).length > 0 && { bindings }),
    ...(replies !== undefined && messages.has(replies) && { reply: { ...place(replies, messages) } }),
    'x-concordat': { service: service.name, bindings: from, sagas: [...new Set(sagas.map(({ name }) => name))] },
  }
}

/** The channel on which this service receives the replies to its messages there. */
function repliesTo({ topology }: System, { name, sagas }: SystemService, channel: string): string | undefined {
  if (sagas.some(({ steps }) => steps.some(({ to }) => to === channel))) return `${name}.saga-replies`
  const answers = topology.services
    .flatMap(({ bindings }) => bindings)
    .find(({ input, answers: to }) => input === channel && to !== null)?.answers
  const own = `${answers ?? ''}.${name}`
  return topology.channels.some((each: SystemChannel) => each.name === own) ? own : undefined
}

type Located = Pick<AsyncapiOperation, 'channel' | 'messages'>

/** Names contain no characters that a JSON pointer would have to escape. */
function place(channel: string, messages: ReadonlyMap<string, string>): Located {
  const ref = `#/channels/${channel}`
  return { channel: { $ref: ref }, messages: [{ $ref: `${ref}/messages/${messages.get(channel)}` }] }
}
