/** The requesting side: requests that wait for their replies. */
import type { Clock } from '../../core/clock.ts'
import { bytesCodec } from '../../core/codec.ts'
import { invalidOption, requireInteger } from '../../core/errors.ts'
import { newId } from '../../core/ids.ts'
import { optionNames, refuseUnknown } from '../../core/option-checks.ts'
import type { StandardSchemaV1 } from '../../core/schema.ts'
import type { SinkBinding } from '../bindings/declarations.ts'
import { Discarded } from '../bindings/discarded-result.ts'
import { type Channel, requireChannel } from '../channel/channel.ts'
import { type EncodedMessage, REPLY_TO_REQUEST } from '../channel/message.ts'
import type { SendOptions } from '../channel/message-codec.ts'
import { BinderError } from '../errors.ts'
import type { SendDestination } from '../sending/destination-provisioning.ts'
import { MAX_REPLY_PLACE, REPLY_TO, REQUEST_ID, readReply, replyDestination } from './request-reply-format.ts'

export interface RequestOptions<ReplyIn, Reply> extends SendOptions {
  /** Channel of the reply: one of `createBinder({ replies })`. */
  readonly reply: Channel<ReplyIn, Reply>
  /** Time limit from the call to the reply, in ms. @default 30 seconds */
  readonly timeoutMs?: number | undefined
  /** Ends the wait with the signal's reason. The request may be handled nevertheless. */
  readonly signal?: AbortSignal | undefined
}

export interface RequesterHost {
  readonly service: string
  readonly instance: string
  readonly clock: Clock
  /** Tells whether the binding with this name has its place at the broker and is not paused. */
  isReceiving(binding: string): boolean
  send<In, Out>(channel: Channel<In, Out>, payload: NoInfer<In>, options: SendOptions): Promise<unknown>
}

const DEFAULT_TIMEOUT_MS = 30_000

const NAMES = optionNames<RequestOptions<unknown, unknown>>({
  reply: true,
  timeoutMs: true,
  signal: true,
  id: true,
  key: true,
  headers: true,
  time: true,
  destination: true,
  delayMs: true,
})

/**
 * Replies arrive on an anonymous subscription of this instance to `<reply channel>.<service>`; each instance of the service
 * receives all of them and takes its own. Replies sent while the subscription is down are lost, and the request times out.
 */
export class Requester {
  /** Bindings to run with the others. */
  readonly bindings: readonly SinkBinding[]
  readonly #host: RequesterHost
  readonly #places: ReadonlyMap<string, SinkBinding>
  readonly #waiting: Map<string, PromiseWithResolvers<EncodedMessage>> = new Map()

  /** @throws TypeError naming the option */
  constructor(replies: readonly SendDestination[] | undefined, host: RequesterHost) {
    this.#host = host
    if (replies !== undefined && !Array.isArray(replies))
      throw invalidOption('createBinder.replies', replies, 'a list of channels')
    const places = (replies ?? []).map((channel, i) => {
      const checked = requireChannel(`createBinder.replies[${i}]`, channel as unknown as Channel)
      const destination = replyDestination(checked.name, host.service)
      // Responders refuse a longer destination.
      if (destination.length > MAX_REPLY_PLACE)
        throw invalidOption(
          `createBinder.replies[${i}]`,
          destination,
          `a shorter name: "<channel>.<service>", where replies go, has at most ${MAX_REPLY_PLACE} characters`,
        )
      return [checked.name, this.#subscription(checked)] as const
    })
    this.#places = new Map(places)
    if (this.#places.size < places.length)
      throw invalidOption(
        'createBinder.replies',
        places.map(([name]) => name),
        'each channel once',
      )
    this.bindings = [...this.#places.values()]
  }

  /**
   * @throws `binder.request_timeout`, `binder.request_failed`, SendError, the reason of the signal, `binder.closed` when the
   * binder closes
   */
  async request<In, Out, ReplyIn, Reply>(
    channel: Channel<In, Out>,
    payload: NoInfer<In>,
    options: RequestOptions<ReplyIn, Reply>,
  ): Promise<Reply> {
    requireChannel('request', channel)
    refuseUnknown(`request("${channel.name}")`, options, NAMES)
    const { reply, timeoutMs = DEFAULT_TIMEOUT_MS, signal, ...sendOptions } = options
    const place = this.#places.get(requireChannel('request.reply', reply).name)
    if (place === undefined)
      throw invalidOption(
        'request.reply',
        reply.name,
        `one of createBinder({ replies }): ${[...this.#places.keys()].join(', ') || '(none)'}`,
      )
    requireInteger('request.timeoutMs', timeoutMs, 1, 2 ** 31 - 1)
    signal?.throwIfAborted()
    const id = `${this.#host.instance}/${newId()}`
    const own = { [REQUEST_ID]: id, [REPLY_TO]: place.input.name }
    const message = await this.#await(id, { channel: channel.name, timeoutMs, signal }, (until) =>
      this.#ask(place, until, () =>
        this.#host.send(channel, payload, { ...sendOptions, headers: { ...sendOptions.headers, ...own } }),
      ),
    )
    return readReply(channel.name, reply, message)
  }

  /** Rejects waiting requests because the binder closes. */
  close(): void {
    for (const { reject } of this.#waiting.values())
      reject(new BinderError('binder.closed', { state: 'closing', path: 'binder.request' }))
  }

  /** Waits for the reply with this id. Removes all listeners at the end. */
  async #await(
    id: string,
    { channel, timeoutMs, signal }: { channel: string; timeoutMs: number; signal: AbortSignal | undefined },
    ask: (until: AbortSignal) => Promise<void>,
  ): Promise<EncodedMessage> {
    const waiting = Promise.withResolvers<EncodedMessage>()
    const over = new AbortController()
    const onAbort = (): void => waiting.reject(signal?.reason)
    signal?.addEventListener('abort', onAbort)
    this.#waiting.set(id, waiting)
    this.#host.clock
      .sleep(timeoutMs, over.signal)
      .then(() => waiting.reject(new BinderError('binder.request_timeout', { channel, timeoutMs })), noop)
    ask(over.signal).catch(waiting.reject)
    try {
      return await waiting.promise
    } finally {
      this.#waiting.delete(id)
      signal?.removeEventListener('abort', onAbort)
      over.abort(new Error('the request is over'))
    }
  }

  /** Sends only while a reply could be received. */
  async #ask({ input, options }: SinkBinding, until: AbortSignal, send: () => Promise<unknown>): Promise<void> {
    while (!this.#host.isReceiving(options.name ?? input.name)) {
      await this.#host.clock.sleep(20, until)
    }
    await send()
  }

  #subscription(replies: Channel): SinkBinding {
    const name = replyDestination(replies.name, this.#host.service)
    const input = {
      name,
      schema: ANYTHING,
      key: undefined,
      codec: bytesCodec,
      partitions: replies.partitions,
      groups: [],
    }
    return Object.freeze({
      kind: 'sink',
      raw: true,
      input: Object.freeze(input),
      output: undefined,
      options: Object.freeze({ name, maxAttempts: 1 }),
      handler: (message: unknown) => this.#take(message as EncodedMessage),
    } satisfies SinkBinding)
  }

  #take(message: EncodedMessage): Discarded | undefined {
    const { [REPLY_TO_REQUEST]: id } = message.headers
    if (typeof id !== 'string' || !id.startsWith(`${this.#host.instance}/`)) return undefined
    const waiting = this.#waiting.get(id)
    if (waiting === undefined) return new Discarded(`a reply of "${message.source}" that is no longer awaited`)
    waiting.resolve(message)
    this.#waiting.delete(id)
    return undefined
  }
}

const ANYTHING: StandardSchemaV1<unknown> = {
  '~standard': { version: 1, vendor: 'concordat', validate: (value) => ({ value }) },
}

function noop(): void {}
