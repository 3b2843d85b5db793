/** Results of a processor or a source: payloads for its own channel, or addressed with `to`. */
import { wrongKind } from '../../core/option-checks.ts'
import { type Channel, checkName, requireChannel } from '../channel/channel.ts'
import type { SendOptions } from '../channel/message-codec.ts'

/** Several outputs of one handler call, confirmed together before the input is settled. Created by `several`. */
export class Outputs<T> {
  readonly payloads: ReadonlyArray<T | Addressed<T>>

  constructor(payloads: ReadonlyArray<T | Addressed<T>>) {
    this.payloads = Object.freeze([...payloads])
  }
}

/** Returns several payloads from a processor or source, whereas an array is one payload. Each may be addressed with `to`. */
export function several<T>(payloads: ReadonlyArray<T | Addressed<T>>): Outputs<T> {
  return new Outputs(payloads)
}

/** Options of an output. Its id derives from the input's, so that a repetition is the same message. */
export type OutputOptions = Omit<SendOptions, 'id'>

/** An output with an address or options. Created by `to`. */
export class Addressed<T> {
  /** Channel of the output; `undefined`: that of the processor or source. */
  readonly channel: Channel | undefined
  readonly payload: unknown
  readonly options: OutputOptions
  /** For the types only: required payload when `channel` is not given. */
  declare protected readonly fits: T

  constructor(channel: Channel | undefined, payload: unknown, options: OutputOptions) {
    this.channel = channel
    this.payload = payload
    this.options = Object.freeze({ ...options })
    Object.freeze(this)
  }
}

/**
 * Addresses an output to another channel than the declared one, or to a destination named at run time with the schema of the
 * declared channel. Alone or in `several`; confirmed with the others before the input is settled.
 * @throws TypeError naming the invalid argument: not a channel, an illegal name, an id
 */
export function to<In, Out>(channel: Channel<In, Out>, payload: NoInfer<In>, options?: OutputOptions): Addressed<never>
export function to<T>(destination: string, payload: T, options?: Omit<OutputOptions, 'destination'>): Addressed<T>
export function to(where: unknown, payload: unknown, options: OutputOptions = {}): Addressed<unknown> {
  if (typeof options !== 'object' || options === null || 'id' in options)
    throw wrongKind('to(...).options', options, 'options without an id: the ids of outputs follow from their input')
  if (typeof where !== 'string') return new Addressed(requireChannel('to', where as Channel), payload, options)
  return new Addressed(undefined, payload, { ...options, destination: checkName('to', where, 200) })
}

/** Result of a processor or a source: one payload, several, addressed ones, or nothing. */
export type Result<T> = T | Addressed<T> | Outputs<T> | undefined | void
