/**
 * A participant that the coordinator's process asks itself: the intent is committed, then the question is put and the answer
 * comes back, without a broker in between. The channel says what it is asked, as it does for one that is asked by message: both
 * take the same commands, and their fence is the same. `httpTarget` and `localTarget` make such.
 */
import type { Channel } from '../../binder/channel/channel.ts'
import type { EncodedMessage } from '../../binder/channel/message.ts'
import type { Backoff } from '../../core/backoff.ts'
import type { Clock } from '../../core/clock.ts'
import type { SagaReply } from '../wire/reply.ts'
import type { CommandHeaders } from '../wire/wire.ts'

/** Accepted as `to` by `.tcc`, `.command`, `.each` and `defineBranch` beside a channel: the result of `httpTarget` and `localTarget`. */
export interface DirectTarget<In = unknown> {
  /** Channel of its commands. Open transactions store its name. */
  readonly channel: Channel<In, unknown>
  /** How it is asked; for the coordinator. */
  readonly asking: DirectAsking
}

/** How a participant is asked: what the coordinator needs to know of a `DirectTarget`. */
export interface DirectAsking {
  /** Questions at once from this process. Others wait in line. */
  readonly concurrency: number
  /** Pauses between questions that have no answer. */
  readonly retry: Backoff
  /** Looks at the request before its intent is written: what is not sent is refused, and has not to be cancelled. @throws when it must not be sent */
  requireSendable?(body: Uint8Array | null): void
  /** Asks once. Never rejects. @param signal ends it: then another instance may ask again */
  ask(request: DirectRequest, clock: Clock, signal: AbortSignal): Promise<DirectAnswer>
  /** Asked when the coordinator starts: is it fit for commands? Absent: that shows when it is asked. @throws what is missing */
  ready?(): Promise<void>
  /** Resolves when no request is running any longer. Absent: none runs in this process. */
  settled?(): Promise<void>
  /** Where it leaves transactions prepared, which the service of this process watches. Absent: that is the other side's to watch. */
  readonly prepares?: object | undefined
}

/** A command that is on its way. */
export interface DirectRequest {
  readonly target: DirectTarget
  readonly message: EncodedMessage
  readonly command: CommandHeaders
}

/** The problem, without any foreign text. */
export interface DirectProblem {
  readonly code: string
  readonly message: string
}

/** Outcome of a request: an answer, a no from another party than the participant, or nothing. */
export type DirectAnswer =
  | { readonly reply: SagaReply }
  | { readonly failed: DirectProblem; readonly final: boolean }
  /** `afterMs`: when the other side wants to be asked again. */
  | { readonly again: DirectProblem; readonly afterMs?: number | undefined }
