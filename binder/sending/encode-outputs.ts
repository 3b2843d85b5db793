/** Converts the result of a handler or a poll to messages, each with its channel, its id and the headers of its context. */

import type { Clock } from '../../core/clock.ts'
import { derivedId } from '../../core/ids.ts'
import { Addressed } from '../bindings/outputs.ts'
import type { Channel } from '../channel/channel.ts'
import { sourceOf } from '../channel/id-namespace.ts'
import type { EncodedMessage } from '../channel/message.ts'
import { encodeMessage } from '../channel/message-codec.ts'
import { type HandlerResult, outputsIn, withAmbient } from './ambient-headers.ts'
import type { ProvisionedDestinations } from './destination-provisioning.ts'

/** The sending service, and its destinations. */
export interface Sender {
  readonly service: string
  readonly clock: Clock
  readonly destinations: Pick<ProvisionedDestinations, 'learn' | 'spec'>
}

/**
 * Converts the result of a handler or a poll to messages.
 * @param channel channel of payloads without an address
 * @param idOf id of the output at an index
 * @throws SchemaError, CodecError, TypeError: none of them is sent
 */
export function encodeOutputs(
  made: HandlerResult,
  channel: Channel | undefined,
  sender: Sender,
  idOf: (index: number) => string | undefined,
): Promise<EncodedMessage[]> {
  return Promise.all(
    outputsIn(made.value).map(async (item, index) => {
      if (item instanceof Addressed) return encodeAddressed(item, made, channel, sender, idOf(index))
      const target = requireTarget(channel)
      const options = withAmbient(made.ambientOf(item), target.name, { id: idOf(index) })
      return encodeMessage(target, item, sender.service, options, sender.clock)
    }),
  )
}

/**
 * Returns the ids of an input's outputs. They derive from the input's id and the position in the list, so that a repeated output
 * after a crash is the same message for deduplication. Instances without a group each send their own.
 */
export function outputIds(input: EncodedMessage, group: string | null): (index: number) => string | undefined {
  return (index) => (group === null ? undefined : derivedId(sourceOf(input), input.id, input.destination, group, index))
}

function encodeAddressed(
  item: Addressed<unknown>,
  made: HandlerResult,
  channel: Channel | undefined,
  sender: Sender,
  id: string | undefined,
): EncodedMessage | Promise<EncodedMessage> {
  const target = requireTarget(item.channel ?? channel)
  const options = withAmbient(made.ambientOf(item), target.name, { ...item.options, id })
  sender.destinations.learn(target, item.options.destination)
  return encodeMessage(target, item.payload, sender.service, options, sender.clock)
}

function requireTarget(channel: Channel | undefined): Channel {
  if (channel !== undefined) return channel
  throw new TypeError('an output without a channel: this binding declares none, return to(channel, payload)')
}
