/**
 * Restores the position of a redrive. A broker may drop the position of a group that is inactive for long: Kafka after
 * `offsets.retention.minutes`, 7 days by default, which may pass between two redrives. The next one would then send back every
 * letter ever written. So it takes its position from the marks that runs leave among the letters.
 */
import { SECOND } from '../../core/clock.ts'
import { newId } from '../../core/ids.ts'
import { unlessAborted } from '../../core/time-limit.ts'
import { DEAD_LETTER_GROUP } from '../consuming/failure/dead-letter-message.ts'
import { BinderError } from '../errors.ts'
import type { GroupPlace, Receiver } from '../transport/transport.ts'
import { lookMark, SettledByMarks } from './marker-messages.ts'
import type { RedrivePlaces } from './places.ts'
import type { ResolvedRedrive } from './redrive.ts'

const WINDOW = 500
const WINDOW_BYTES = 16 * 1024 * 1024
/** Time without messages after which reading ends before the broker's count is reached; then a mark finds the end. */
const PATIENCE_MS = 2 * SECOND
/** Same before the first message, because another run may hold the place. */
const TURN_MS = 15 * SECOND
const AGAIN_MS = 200

/**
 * Does nothing if the broker has a position of the group. A dry run continues even if the position is unknown.
 * @throws `binder.redrive_position_unknown`, `binder.redrive_stalled`, TransportError
 */
export async function regainPosition(options: ResolvedRedrive, { owner, letters }: RedrivePlaces): Promise<void> {
  const place = { destination: letters.name, partitions: letters.partitions, group: DEAD_LETTER_GROUP }
  const name = await owner.withoutPosition?.(place)
  if (name === undefined) return
  const count = await owner.lag?.(place)
  const { settled, open } = count === 0 ? new SettledByMarks() : await readMarks(options, place, count)
  // Another run may have been running meanwhile.
  if ((await owner.withoutPosition?.(place)) === undefined) return
  const { dryRun, logger } = options
  if (open !== undefined) {
    const unknown = new BinderError('binder.redrive_position_unknown', {
      destination: letters.name,
      group: name,
      open,
      settled,
    })
    if (!dryRun) throw unknown
    logger.warn(
      { err: unknown },
      'the look begins at the first letter: a redrive that was cut off may have sent some back',
    )
  } else if (settled !== undefined || !dryRun) {
    // Also at the first message: if a run is killed before its first commit, another one must not conclude that the broker has
    // dropped its position.
    await placeBehind(options, () => owner.placeBehind?.(place, settled), letters.name)
    if (settled !== undefined)
      logger.info(
        { group: name, settled },
        'the broker has dropped the position of redrives: going on from their marks',
      )
  }
}

/** @param count number of messages according to the broker, which may not deliver all */
async function readMarks(options: ResolvedRedrive, place: GroupPlace, count = Number.POSITIVE_INFINITY) {
  const { transport, clock, signal, stallTimeoutMs } = options
  const marks = new SettledByMarks()
  const end = Promise.withResolvers<void>()
  const markId = newId()
  let seen = 0
  const stalled = (): void =>
    end.reject(
      new BinderError('binder.redrive_stalled', {
        destination: place.destination,
        waitedMs: stallTimeoutMs,
        sent: 0,
        kept: 0,
      }),
    )
  const markEnd = (): void => {
    const mark = lookMark({ id: markId, destination: place.destination, time: clock.now() })
    void transport.publish([mark], { deadline: clock.monotonic() + stallTimeoutMs })
  }
  let cancelStall = clock.setTimer(stallTimeoutMs, stalled)
  let cancelMark = (): void => {}
  const receiver: Receiver = {
    deliver: (delivery) => {
      marks.read(delivery.message, delivery.position)
      delivery.ack()
      cancelStall()
      cancelMark()
      if (++seen >= count || delivery.message.id === markId) end.resolve()
      cancelStall = clock.setTimer(stallTimeoutMs, stalled)
      cancelMark = clock.setTimer(PATIENCE_MS, markEnd)
    },
    recall: () => {},
    lost: (error) => end.reject(error),
  }
  end.promise.catch(() => {})
  const subscription = await transport.subscribe(
    { ...place, prefetch: WINDOW, prefetchBytes: WINDOW_BYTES, rereads: true },
    receiver,
  )
  if (seen === 0) cancelMark = clock.setTimer(TURN_MS, markEnd)
  try {
    await (signal === undefined ? end.promise : unlessAborted(signal, end.promise))
    return marks
  } finally {
    cancelStall()
    cancelMark()
    await subscription.close()
  }
}

/** A dry run that has ended may still be a member for a moment. @throws `binder.redrive_stalled` while the group has others */
async function placeBehind(
  { clock, signal, stallTimeoutMs }: ResolvedRedrive,
  place: () => Promise<boolean> | undefined,
  destination: string,
): Promise<void> {
  const deadline = clock.monotonic() + stallTimeoutMs
  while ((await place()) === false) {
    if (clock.monotonic() >= deadline)
      throw new BinderError('binder.redrive_stalled', { destination, waitedMs: stallTimeoutMs, sent: 0, kept: 0 })
    await clock.sleep(AGAIN_MS, signal)
  }
}
