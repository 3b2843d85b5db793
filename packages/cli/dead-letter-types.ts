/** Declarations of the operator's part for dead letters and lag. */

import type { DeadLetter } from 'concordat/binder'
import type { OperatorNote } from 'concordat/saga/coordinator'
import type { RedriveCounts, RedriveReport } from './engine-types.ts'
import type { GroupLine } from './group-lag.ts'

/** A group of a channel. */
export interface DeadLetterPlace {
  readonly channel: string
  readonly group: string
  /** Number of partitions that the channel declares. @default the broker's number; 4 where it has none */
  readonly partitions?: number | undefined
}

/** Selects letters. */
export interface DeadLetterFilter {
  /** At most 10 000. @default 100 */
  readonly limit?: number | undefined
  /** Code of the error. */
  readonly code?: string | undefined
  /** Id of the message. */
  readonly id?: string | undefined
  /** Ids of messages that were shown before: no other letter matches, so later ones stay. @default all */
  readonly among?: readonly string[] | undefined
  /** For a list or a dry run: reads only this many. @default as `redrive` of `concordat/binder` */
  readonly lookAt?: number | undefined
  /** Limit for the same reading, in bytes of payloads. @default as `redrive` of `concordat/binder` */
  readonly lookAtBytes?: number | undefined
}

/** Selects letters, and how much of them to show. */
export interface DeadLetterListOptions extends DeadLetterFilter {
  /** Shows `body` too. @default false: it is null */
  readonly payloads?: boolean | undefined
}

/** A page of dead letters. */
export interface DeadLetterPageOptions extends Omit<DeadLetterListOptions, 'lookAt'> {
  /** `next` of the page before. @default the first page */
  readonly after?: string | undefined
  /** Reads this many dead letters for a page, matching or not. At most 10 000. @default 10 000 */
  readonly lookAt?: number | undefined
}

/** A page of dead letters; a page may be empty and not the last. */
export interface DeadLetterPage {
  readonly letters: readonly DeadLetter[]
  /** For `after`: null at the end. */
  readonly next: string | null
}

/** Progress of a redrive or drop. */
export interface DeadLetterProgress extends RedriveCounts {
  /** Number of letters at the start, as returned by `count`; a run with a `limit` may end earlier. */
  readonly of: number | undefined
}

/** Options of `drop`: which letters are dropped. */
export interface DeadLetterDrop extends OperatorNote, DeadLetterFilter {
  /** Lists the letters that would be dropped, and changes nothing. @default true */
  readonly dryRun?: boolean | undefined
  /** Called after each letter that was sent back, dropped or kept. */
  readonly onProgress?: ((progress: DeadLetterProgress) => void) | undefined
  /** Stops the run early: letters already handled stay so, and the report has `complete: false`. */
  readonly signal?: AbortSignal | undefined
}

/** Options of `redrive`: which letters are sent back, and where. */
export interface DeadLetterRedrive extends OperatorNote, DeadLetterFilter {
  /**
   * Same as for `redrive` of `concordat/binder`. The operator does not know the channel's declaration and treats it as
   * `transactional`. @default 'group' on PostgreSQL and for a channel of dead letters, otherwise 'channel'
   */
  readonly to?: 'channel' | 'group' | undefined
  /** @default 100 */
  readonly perSecond?: number | undefined
  /** Lists the letters that would be sent back, and changes nothing. @default true */
  readonly dryRun?: boolean | undefined
  /** Called after each letter that was sent back or kept. */
  readonly onProgress?: ((progress: DeadLetterProgress) => void) | undefined
  /** Stops the run early, as for `drop`. */
  readonly signal?: AbortSignal | undefined
}

/** Lists dead letters, sends them back or drops them. Every action is recorded in `audit`. */
export interface DeadLetterAdmin {
  /**
   * Lists letters, without payloads unless requested. Takes the place of the group `redrive` for as long as it reads; a redrive
   * at the same time waits. @throws OperatorTransportMissing, TransportError, `binder.redrive_stalled`
   */
  list(place: DeadLetterPlace, options?: DeadLetterListOptions): Promise<readonly DeadLetter[]>
  /**
   * Like `list`, but page by page. A page reads past those before it, which stay unsettled, so ten thousand letters are within
   * reach. No letter is left out, whatever arrives or is settled meanwhile; when the last letter of the page before has been
   * settled, the page begins at the first remaining letter, so letters that stayed are shown again.
   * @throws as `list`; TypeError for a cursor that no page has returned; OperatorLettersOutOfReach
   */
  page(place: DeadLetterPlace, options?: DeadLetterPageOptions): Promise<DeadLetterPage>
  /**
   * Number of letters; `undefined` on RabbitMQ while another redrive or list reads them, since it does not count what readers
   * hold.
   * @throws as `lag`
   */
  count(place: DeadLetterPlace): Promise<number | undefined>
  /**
   * @throws as `list`, `binder.redrive_would_repeat` and `core.tables_missing` before anything was done, SendError, OperatorOutcomeNotKept
   */
  redrive(place: DeadLetterPlace, options: DeadLetterRedrive): Promise<RedriveReport>
  /** Deletes letters permanently; `sent` of the report counts them. @throws as `redrive` */
  drop(place: DeadLetterPlace, options: DeadLetterDrop): Promise<RedriveReport>
  /**
   * Number of messages that a group has not settled, including its due retries; `backlog` tells what the number leaves out.
   * @throws OperatorTransportMissing, TransportError
   */
  lag(place: DeadLetterPlace): Promise<number>
  /** Like `lag`, with the meaning of the number. @throws as `lag` */
  backlog(place: DeadLetterPlace): Promise<GroupBacklog>
  /**
   * Returns the places that `groups` of the operator does not count: groups that the log does not have, and groups that another
   * transport has as well, since the services may have moved. Asks a transport that does not answer only once.
   */
  besideLog(groups: readonly GroupLine[], places: readonly DeadLetterPlace[]): Promise<readonly DeadLetterPlace[]>
}

/** Number of messages that a group has not settled. */
export interface GroupBacklog {
  readonly lag: number
  /**
   * True where the broker counts only messages that no consumer holds (RabbitMQ), and the group has consumers: a handler that
   * hangs may hold all others.
   */
  readonly isReadyOnly: boolean
  /**
   * The group's name at the broker if it has committed nothing there (Kafka): `lag` is then everything, and the name may be
   * wrong.
   */
  readonly uncommitted?: string | undefined
}
