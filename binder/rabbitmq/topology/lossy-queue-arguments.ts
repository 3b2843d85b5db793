/** Arguments with which RabbitMQ discards messages that it has confirmed. */

const REJECTS = 'reject-publish'

/** The first argument with which a queue discards messages that no consumer has handled. */
export function lossIn(
  given: Readonly<Record<string, unknown>>,
): { readonly name: string; readonly remedy: string } | undefined {
  const overflow = given['x-overflow']
  if (overflow !== undefined && overflow !== REJECTS)
    return { name: 'x-overflow', remedy: `Use '${REJECTS}', which makes senders wait` }
  for (const name of ['x-max-length', 'x-max-length-bytes'])
    if (given[name] !== undefined && overflow === undefined)
      return { name, remedy: `Add 'x-overflow': '${REJECTS}', which makes senders wait` }
  for (const name of ['x-message-ttl', 'x-expires', 'x-max-age'])
    if (given[name] !== undefined) return { name, remedy: 'Leave it out' }
  if (given['x-delivery-limit'] !== undefined && given['x-delivery-limit'] !== -1)
    return { name: 'x-delivery-limit', remedy: 'Use -1, since maxAttempts of a binding counts attempts' }
  return undefined
}
