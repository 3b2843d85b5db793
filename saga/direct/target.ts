/**
 * A participant that the coordinator's process calls itself: the intent is committed, then the call is made and the reply
 * returns, without a broker in between. The channel defines the call, as for a participant on a broker: both take the same
 * commands and use the same fence. Created by `httpTarget` and `localTarget`.
 */
import type { Channel } from '../../binder/channel/channel.ts'
import type { EncodedMessage } from '../../binder/channel/message.ts'
import type { Backoff } from '../../core/backoff.ts'
import type { Clock } from '../../core/clock.ts'
import type { SagaReply } from '../wire/reply.ts'
import type { CommandHeaders } from '../wire/wire.ts'

/**
 * Accepted as `to` by `.tcc`, `.command`, `.each` and `defineBranch` instead of a channel: the result of `httpTarget` and
 * `localTarget`.
 */
export interface DirectTarget<In = unknown> {
  /** Channel of its commands. Open transactions store its name. */
  readonly channel: Channel<In, unknown>
  /** Behaviour of the calls, for the coordinator. */
  readonly asking: DirectAsking
}

/** Behaviour of calls to a participant: the part of a `DirectTarget` that the coordinator uses. */
export interface DirectAsking {
  /** Maximum number of concurrent calls of this process; further calls queue. */
  readonly concurrency: number
  /** Pauses between calls without a reply. */
  readonly retry: Backoff
  /**
   * Checks the request before its intent is written: a request that is not sent is refused, and needs no cancellation. @throws
   * when it must not be sent
   */
  requireSendable?(body: Uint8Array | null): void
  /** Makes one call. Never rejects. @param signal ends it, after which another instance may repeat the call */
  ask(request: DirectRequest, clock: Clock, signal: AbortSignal): Promise<DirectAnswer>
  /**
   * Checks at the start of the coordinator whether the participant accepts commands. Absent: the first call shows it. @throws the
   * problem
   */
  ready?(): Promise<void>
  /** Resolves when no request is running. Absent: none runs in this process. */
  settled?(): Promise<void>
  /**
   * Database with its prepared transactions, which the service of this process watches. Absent: the participant's service watches
   * them.
   */
  readonly prepares?: object | undefined
}

/** A command that is being sent. */
export interface DirectRequest {
  readonly target: DirectTarget
  readonly message: EncodedMessage
  readonly command: CommandHeaders
}

/** The problem, without foreign text. */
export interface DirectProblem {
  readonly code: string
  readonly message: string
}

/** Outcome of a request: a reply, an error of another program than the participant, or no reply. */
export type DirectAnswer =
  | { readonly reply: SagaReply }
  | { readonly failed: DirectProblem; readonly final: boolean }
  /** `afterMs`: the pause that the other side asks for. */
  | { readonly again: DirectProblem; readonly afterMs?: number | undefined }
