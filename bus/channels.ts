/**
 * The three channels of a bus. One partition each, because events keep the order of the broker and are few. No groups: every
 * instance receives every new message, nothing is kept.
 *
 * - `<channel>.events`: read by all
 * - `<channel>.presence`: read by all, unless the members come from another source
 * - `<channel>.acks`: read only by instances that have requested acknowledgements, so that answers do not go to all
 */

import { type Channel, defineChannel } from '../binder/channel/channel.ts'
import { HOUR } from '../core/clock.ts'
import type { Codec } from '../core/codec.ts'
import type { StandardSchemaV1 } from '../core/schema.ts'

/** The body as sent: it is signed as bytes, and parsed only if it is for this instance and genuine. */
export type BusChannel = Channel<Uint8Array, Uint8Array>

export interface BusChannels {
  readonly events: BusChannel
  readonly acks: BusChannel
  readonly presence: BusChannel
}

export function busChannels(name: string): BusChannels {
  return {
    events: busChannel(`${name}.events`),
    acks: busChannel(`${name}.acks`),
    presence: busChannel(`${name}.presence`),
  }
}

function busChannel(name: string): BusChannel {
  return defineChannel(name, { payload: BYTES, codec: jsonBytes, partitions: 1, key: () => 'bus', retentionMs: HOUR })
}

const jsonBytes: Codec<unknown> = Object.freeze({
  contentType: 'application/json',
  encode: (value: unknown) => value as Uint8Array,
  decode: (bytes: Uint8Array) => bytes,
})

const BYTES: StandardSchemaV1<Uint8Array> = {
  '~standard': {
    version: 1,
    vendor: 'concordat',
    validate: (value) =>
      value instanceof Uint8Array ? { value } : { issues: [{ message: 'expected the bytes of a bus message' }] },
  },
}
