import type { Logger } from '../../core/logger.ts'
import type { TraceContext } from '../../core/trace-context.ts'
import type { EncodedMessage } from '../channel/message.ts'
import type { Answer } from '../requests/failed-request-answer.ts'
import type { AmbientHeaders } from '../sending/ambient-headers.ts'
import type { Sender } from '../sending/encode-outputs.ts'
import type { BinderTelemetry } from '../telemetry/telemetry.ts'
import type { PublishOutcome, TransportDelivery } from '../transport/transport.ts'
import type { WithdrawnDeliveryCounts } from './failure/withdrawn-delivery-counts.ts'
import type { Pace } from './pace/pace.ts'
import type { RunningCalls } from './running-calls.ts'
import type { StalledWrites } from './stalled-writes.ts'

/** Shared by the classes that handle the messages of one run of a binding. */
export interface HandlingDependencies extends Sender {
  readonly logger: Logger
  readonly handlerLogger: Logger
  readonly telemetry: BinderTelemetry | undefined
  readonly ambient: AmbientHeaders | undefined
  /** Aborts when the binding stops: messages that wait for their next attempt go back instead. */
  readonly stopping: AbortSignal
  /** Aborts when the drain's time limit passes. */
  readonly drain: AbortSignal
  /** Called before and after each handler call. */
  readonly pace: Pace | undefined
  /** Records each call that does not return at once. */
  readonly runningCalls: RunningCalls
  /** Collects missing rights to write, for the status of the binding. */
  readonly stalledWrites: StalledWrites
  /** Messages that the broker took away while their handler ran. */
  readonly withdrawn: WithdrawnDeliveryCounts
  /** Same as `Transport.confirmsSingly`. */
  readonly confirmsSingly: boolean
  /** Creates the answer for the requester of a request that failed permanently. */
  readonly answer?: ((request: EncodedMessage, error: unknown) => Answer | undefined) | undefined
  /**
   * Sends and settles in one transaction, if the binding settles in transactions. @throws TransportError, errors of the driver
   */
  readonly move?: ((delivery: TransportDelivery, messages: readonly EncodedMessage[]) => Promise<void>) | undefined
  /** @param parent parent of the span around it, if there is telemetry. @default the active span */
  publish(messages: readonly EncodedMessage[], parent?: TraceContext | 'none'): Promise<readonly PublishOutcome[]>
}
