import { DEAD_LETTER_GROUP, deadLetterSpec } from '../consuming/failure/dead-letter-message.ts'
import { retrySpec } from '../consuming/failure/retry-destination.ts'
import { BinderError, TransportError } from '../errors.ts'
import type { DestinationSpec, SettlingTransactions, Transport } from '../transport/transport.ts'
import { settlingTransactionsOf } from './atomic-move.ts'
import type { ResolvedRedrive } from './redrive.ts'

/** Source and destination of a run's letters. */
export interface RedrivePlaces {
  readonly letters: DestinationSpec
  readonly channel: DestinationSpec
  /** The channel, or the retry channel of the group. */
  readonly target: DestinationSpec
  /** Letters and retries are on the transport of their channel. */
  readonly owner: Transport
  /** Set when a letter is removed and sent back in one transaction. */
  readonly settling: SettlingTransactions | undefined
}

export function placesOf({ channel, group, to, transport, dryRun }: ResolvedRedrive): RedrivePlaces {
  const { name, partitions, groups, retentionMs } = channel
  const owner = transport.ownerOf?.(name) ?? transport
  const found = { asFound: true, goesWith: name } as const
  const spec = { name, partitions, groups, retentionMs, asFound: true }
  return {
    letters: { ...deadLetterSpec(name, group), ...found },
    channel: spec,
    target: to === 'group' ? { ...retrySpec(spec, group), ...found } : spec,
    owner,
    settling: dryRun ? undefined : settlingTransactionsOf(owner),
  }
}

/**
 * Creates the broker objects that a run needs. A retry channel created here gets the partitions of its channel, which refuses
 * another number. A group without any trace is probably mistyped: a queue for it would keep all further messages.
 * @throws TransportError, `binder.redrive_would_repeat`
 */
export async function provisionPlaces(
  { transport, group, to, dryRun }: ResolvedRedrive,
  { letters, channel, target, owner, settling }: RedrivePlaces,
): Promise<void> {
  const place = { destination: letters.name, partitions: letters.partitions, group: DEAD_LETTER_GROUP }
  if ((await owner.hasPlace?.(place)) === false) throw withoutLetters(owner.name, channel.name, group, letters.name)
  await transport.provision([letters])
  // The declaration may omit that the channel is transactional.
  const repeats = to === 'channel' && ((await owner.settlingGroups?.(channel.name)) ?? []).length > 0
  if (repeats) throw new BinderError('binder.redrive_would_repeat', { channel: channel.name, group, why: 'settles' })
  if (dryRun || to === 'nowhere') return
  const { name: destination, partitions } = target
  const isNew = to === 'group' && (await owner.hasPlace?.({ destination, partitions, group })) === false
  if (isNew) await transport.provision([channel])
  await transport.provision([target]).catch((error: unknown) => {
    // A transport that creates nothing in advance: the transaction of the first letter creates it.
    if (!isNew || settling === undefined) throw error
  })
}

function withoutLetters(transport: string, channel: string, group: string, destination: string): TransportError {
  return new TransportError({
    transport,
    kind: 'mismatch',
    destination,
    message:
      `"${channel}" has no dead letters of a group "${group}": "${destination}" is missing on ${transport}. Check the names of the ` +
      "channel and the group; a binding of the group with `onFailure: 'dead-letter'` makes it when it starts.",
  })
}
