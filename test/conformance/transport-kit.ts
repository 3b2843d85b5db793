import {
  type Binder,
  type BinderOptions,
  type Channel,
  createBinder,
  defineChannel,
  type EncodedMessage,
  type HandlerContext,
  sink,
  TransportError,
} from 'concordat/binder'
import type { PublishOutcome, Transport } from 'concordat/extension'
import { onTestFinished } from 'vitest'
import { z } from 'zod'
import type { PublishUntil } from '../support/inside/binder.ts'
import { persistent } from '../support/refusals.ts'

export const TestPayload = z.object({ key: z.string(), n: z.number().int() })
export type TestPayload = z.infer<typeof TestPayload>
export type TestChannel = Channel<TestPayload, TestPayload>

/** A keyed channel whose groups exist before the first message, so that every transport starts alike. */
export function createTestChannel(name: string, groups: readonly string[] = ['g']): TestChannel {
  return defineChannel(name, { payload: TestPayload, key: (payload) => payload.key, groups })
}

/** The same with one partition: all keys share its order. */
export function createOnePartitionChannel(name: string): TestChannel {
  return defineChannel(name, { payload: TestPayload, partitions: 1, key: ({ key }) => key, groups: ['g'] })
}

/** Starts a binder, waits until it is ready and closes it after the test. */
export async function started(transport: Transport, options: Partial<BinderOptions> = {}): Promise<Binder> {
  const binder = createBinder({ service: 'conformance', transport, drainTimeoutMs: 2_000, ...options })
  onTestFinished(() => binder.close())
  await binder.start()
  await binder.ready({ timeoutMs: 60_000 })
  return persistent(binder, ASKED_AGAIN)
}

/**
 * Calls for which the contract leaves the retry to the caller when the broker refuses; in the other suites nothing is
 * refused.
 */
export const ASKED_AGAIN = ['send', 'sendBatch', 'publish', 'request', 'lag', 'deadLetters'] as const

/** Retries at once, so that tests need not wait for backoff. */
export const NO_PAUSE = Object.freeze({ initialMs: 0, maxMs: 0, jitter: 0 })

export interface Received {
  readonly payload: TestPayload
  readonly context: Pick<
    HandlerContext,
    'id' | 'key' | 'headers' | 'attempt' | 'time' | 'source' | 'group' | 'redelivered'
  >
}

/** Sink that keeps its messages. */
export function collector(
  channel: TestChannel,
  group: string | undefined,
): { readonly got: Received[]; readonly binding: ReturnType<typeof sink> } {
  const got: Received[] = []
  const binding = sink(channel, { group }, (payload, context) => {
    const { id, key, headers, attempt, time, source, redelivered } = context
    got.push({ payload, context: { id, key, headers, attempt, time, source, group: context.group, redelivered } })
  })
  return { got, binding }
}

/** Dead letter channel of a group, readable like any other channel: dead letters keep their bytes. */
export function deadLettersOf(channel: TestChannel, group: string): TestChannel {
  return defineChannel(`${channel.name}.${group}.dlq`, { payload: TestPayload, partitions: 1, groups: ['redrive'] })
}

/** The same transport, but publishing to some destinations fails as if the broker were down. */
export function failingPublish(transport: Transport, fails: (message: EncodedMessage) => boolean): Transport {
  return new Proxy(transport, {
    get(target, property) {
      if (property === 'publish') {
        return (messages: readonly EncodedMessage[], until?: PublishUntil) =>
          publishSome(target, messages, until, fails)
      }
      if (property === 'publishIn' && target.publishIn !== undefined) {
        const publishIn: NonNullable<Transport['publishIn']> = async (tx, messages, specOf) => {
          if (messages.some(fails)) throw noAnswer(target)
          await target.publishIn?.(tx, messages, specOf)
        }
        return publishIn
      }
      const value: unknown = Reflect.get(target, property, target)
      return typeof value === 'function' ? (value as () => unknown).bind(target) : value
    },
  })
}

async function publishSome(
  target: Transport,
  messages: readonly EncodedMessage[],
  until: PublishUntil | undefined,
  fails: (message: EncodedMessage) => boolean,
): Promise<PublishOutcome[]> {
  const good = messages.filter((message) => !fails(message))
  // Without `onOutcome`, whose places would be those of the list that is left.
  const outcomes = [...(await target.publish(good, { deadline: until?.deadline }))]
  return messages.map((message) => (fails(message) ? noAnswer(target) : outcomes.shift()))
}

function noAnswer({ name }: Transport): TransportError {
  return new TransportError({ transport: name, kind: 'unavailable', message: 'no answer (made by the test)' })
}
