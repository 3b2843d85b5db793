import { type Backoff, backoffDelayMs } from '../../../core/backoff.ts'
import { type Clock, SECOND } from '../../../core/clock.ts'
import { toError } from '../../../core/errors.ts'
import type { Logger } from '../../../core/logger.ts'
import { RECONNECT_BACKOFF } from '../../bindings/resolve-options.ts'
import type { EncodedMessage } from '../../channel/message.ts'
import { SendError, TransportError } from '../../errors.ts'
import type { PublishOutcome } from '../../transport/transport.ts'
import type { StalledWrites } from '../stalled-writes.ts'

export interface ConfirmHost {
  readonly clock: Clock
  readonly logger: Logger
  /** Name of the sending binding, for the log. */
  readonly binding?: string | undefined
  /** Receives the outcomes of each try that did not confirm all messages. */
  readonly stalledWrites?: StalledWrites | undefined
  /** Same as `Transport.confirmsSingly`. @default false */
  readonly confirmsSingly?: boolean | undefined
  publish(messages: readonly EncodedMessage[]): Promise<readonly PublishOutcome[]>
}

/**
 * Publishes until the broker has confirmed every message, however long it is unavailable. The ids stay the same throughout.
 * @param signal created only if there is something to wait for
 * @throws SendError when the broker can never take a message (too large, unroutable); the reason of the signal when it aborts
 */
export async function publishUntilConfirmed(
  host: ConfirmHost,
  messages: readonly EncodedMessage[],
  signal: () => AbortSignal,
): Promise<void> {
  try {
    await sendUntilConfirmed(host, messages, signal)
  } finally {
    host.stalledWrites?.over(messages)
  }
}

async function sendUntilConfirmed(
  host: ConfirmHost,
  messages: readonly EncodedMessage[],
  signal: () => AbortSignal,
): Promise<void> {
  let left: ReadonlySet<EncodedMessage> = new Set(messages)
  for (let attempt = 1; left.size > 0; ) {
    const now = sendable(host, [...left])
    const outcomes = await host.publish(now)
    for (const [i, message] of now.entries()) {
      const outcome = outcomes[i]
      if (outcome !== undefined && !outcome.retryable) throw new SendError(message.destination, message.id, outcome)
    }
    const confirmed = new Set(now.filter((_, i) => outcomes[i] === undefined))
    left = new Set([...left].filter((message) => !confirmed.has(message)))
    if (confirmed.size > 0) attempt = 1
    if (confirmed.size === now.length) continue
    notConfirmed(host, messages, outcomes, left.size)
    await host.clock.sleep(pauseMs(outcomes, attempt++), signal())
  }
}

/**
 * Returns messages that may be sent together. If the broker confirms each message separately, a later one with a key could arrive
 * before an earlier one that was refused: then the next one of each key, after the earlier ones were confirmed.
 */
function sendable(host: ConfirmHost, left: readonly EncodedMessage[]): readonly EncodedMessage[] {
  if (host.confirmsSingly !== true || left.length < 2) return left
  const lanes = new Set<string>()
  return left.filter(({ destination, key }) => {
    if (key === null) return true
    const lane = `${destination}\0${key}`
    const isFirst = !lanes.has(lane)
    lanes.add(lane)
    return isFirst
  })
}

/**
 * `publishUntilConfirmed` for messages that do not fail together: repeated messages are sent together, in order. Never rejects.
 * @returns for each message the reason why the broker does not have it, a SendError or the reason of the signal; `undefined` if
 * it has
 */
export async function publishEach(
  host: ConfirmHost,
  messages: readonly EncodedMessage[],
  signal: () => AbortSignal,
): Promise<readonly unknown[]> {
  try {
    return await sendEach(host, messages, signal)
  } finally {
    host.stalledWrites?.over(messages)
  }
}

async function sendEach(
  host: ConfirmHost,
  messages: readonly EncodedMessage[],
  signal: () => AbortSignal,
): Promise<readonly unknown[]> {
  const ends: unknown[] = messages.map(() => undefined)
  const places = new Map(messages.map((message, at) => [message, at]))
  let left = [...messages]
  for (let attempt = 1; left.length > 0; ) {
    const now = sendable(host, left)
    const outcomes = await host.publish(now)
    for (const [i, message] of now.entries()) {
      const outcome = outcomes[i]
      if (outcome === undefined || outcome.retryable) continue
      ends[places.get(message) as number] = new SendError(message.destination, message.id, outcome)
    }
    const done = new Set(now.filter((_, i) => outcomes[i]?.retryable !== true))
    left = left.filter((message) => !done.has(message))
    if (done.size > 0) attempt = 1
    if (done.size === now.length) continue
    notConfirmed(host, messages, outcomes, left.length)
    try {
      await host.clock.sleep(pauseMs(outcomes, attempt++), signal())
    } catch (reason) {
      for (const message of left) ends[places.get(message) as number] = reason
      return ends
    }
  }
  return ends
}

/**
 * Longer than after a lost connection, because each try of a message that one full queue refuses reaches the other groups again.
 */
const REFUSED_BACKOFF: Backoff = { ...RECONNECT_BACKOFF, maxMs: 30 * SECOND }

function pauseMs(outcomes: readonly PublishOutcome[], attempt: number): number {
  const isRefused = outcomes.every((outcome) => outcome === undefined || outcome.kind === 'refused')
  return backoffDelayMs(isRefused ? REFUSED_BACKOFF : RECONNECT_BACKOFF, attempt, Math.random())
}

function notConfirmed(
  { logger, binding, stalledWrites }: ConfirmHost,
  messages: readonly EncodedMessage[],
  outcomes: readonly PublishOutcome[],
  left: number,
): void {
  const err = outcomes.find(Boolean)
  logger.warn(
    { err, ...(binding === undefined ? {} : { binding }), left },
    'not confirmed by the broker, sending again',
  )
  stalledWrites?.heard(messages, outcomes)
}

/** Returns the outcome of a send within a transaction, in the form of `publish`. Never rejects. */
export async function outcomeOf(sending: Promise<void>): Promise<PublishOutcome> {
  try {
    await sending
    return undefined
  } catch (error) {
    if (error instanceof TransportError) return error
    const { message } = toError(error)
    return new TransportError({ transport: 'postgres', kind: 'unavailable', message, cause: error })
  }
}
