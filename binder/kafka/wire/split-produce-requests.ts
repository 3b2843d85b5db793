import type { Envelope } from '../driver.ts'

/**
 * Splits a list of messages into produce requests, in order: a driver makes one batch per partition of a request, and the broker
 * refuses a batch over the topic's limit, however small its messages. So each partition has at most `maxBytes` in a request. The
 * caller refuses single messages over the limit before.
 *
 * @param placeOf partition of a message, as far as it is known: if it is another one in the end, a request may be refused, and is
 * sent again in halves
 */
export function splitRequests(
  envelopes: readonly Envelope[],
  maxBytes: number,
  placeOf: (envelope: Envelope) => number,
): readonly Envelope[][] {
  if (envelopes.length === 0) return []
  if (envelopes.reduce((sum, { bytes }) => sum + bytes, 0) <= maxBytes) return [[...envelopes]]
  const requests: Envelope[][] = []
  let request: Envelope[] = []
  let sizes = new Map<string, number>()
  for (const envelope of envelopes) {
    const place = `${placeOf(envelope)} ${envelope.topic}`
    const bytes = (sizes.get(place) ?? 0) + envelope.bytes
    if (bytes > maxBytes && request.length > 0) {
      requests.push(request)
      request = []
      sizes = new Map([[place, envelope.bytes]])
    } else sizes.set(place, bytes)
    request.push(envelope)
  }
  return [...requests, request]
}

/** Returns the messages of a request by topic, in order. */
export function byTopic(envelopes: readonly Envelope[]): Array<{ topic: string; messages: Envelope[] }> {
  const topics = new Map<string, Envelope[]>()
  for (const envelope of envelopes) {
    const messages = topics.get(envelope.topic)
    if (messages === undefined) topics.set(envelope.topic, [envelope])
    else messages.push(envelope)
  }
  return [...topics].map(([topic, messages]) => ({ topic, messages }))
}

/** Returns halves, for finding the message that the broker refuses. */
export function halve<T>(items: readonly T[]): readonly [T[], T[]] {
  const middle = Math.ceil(items.length / 2)
  return [items.slice(0, middle), items.slice(middle)]
}
