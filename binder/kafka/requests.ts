import type { Envelope } from './partitioner.ts'

/**
 * Cuts a list of messages into produce requests, in order: kafkajs makes one batch per partition of a request, and the
 * broker refuses a batch over the topic's limit, however small its messages. So each topic has at most `maxBytes` in a
 * request. A message alone over the limit is the caller's to refuse before.
 */
export function splitRequests(envelopes: readonly Envelope[], maxBytes: number): readonly Envelope[][] {
  const requests: Envelope[][] = []
  let request: Envelope[] = []
  let sizes = new Map<string, number>()
  for (const envelope of envelopes) {
    const bytes = (sizes.get(envelope.topic) ?? 0) + envelope.bytes
    if (bytes > maxBytes && request.length > 0) {
      requests.push(request)
      request = []
      sizes = new Map([[envelope.topic, envelope.bytes]])
    } else sizes.set(envelope.topic, bytes)
    request.push(envelope)
  }
  if (request.length > 0) requests.push(request)
  return requests
}

/** The messages of a request by topic, in order, as `sendBatch` wants them. */
export function byTopic(envelopes: readonly Envelope[]): Array<{ topic: string; messages: Envelope[] }> {
  const topics = new Map<string, Envelope[]>()
  for (const envelope of envelopes) {
    const messages = topics.get(envelope.topic)
    if (messages === undefined) topics.set(envelope.topic, [envelope])
    else messages.push(envelope)
  }
  return [...topics].map(([topic, messages]) => ({ topic, messages }))
}

/** Halves for finding the message that the broker refuses. */
export function halve<T>(items: readonly T[]): readonly [T[], T[]] {
  const middle = Math.ceil(items.length / 2)
  return [items.slice(0, middle), items.slice(middle)]
}
