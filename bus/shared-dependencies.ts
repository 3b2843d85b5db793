import { formatAddress } from './address.ts'
import { Authorization } from './authorize.ts'
import { BinderAttachment, type BusBindings } from './binder-attachment.ts'
import { type BusChannels, busChannels } from './channels.ts'
import { Counters } from './counters.ts'
import { MessageVerifier } from './message-verifier.ts'
import type { ResolvedBus } from './options.ts'
import { Signer } from './signature.ts'
import { BusTelemetry } from './telemetry.ts'
import { UniqueTimestamps } from './unique-timestamps.ts'

/** State shared by the classes of one bus. */
export interface BusContext extends ResolvedBus {
  /** The address as text. */
  readonly self: string
  readonly channels: BusChannels
  /** Names of the bus's own bindings. */
  readonly names: BusBindings
  readonly connection: BinderAttachment
  readonly counters: Counters
  readonly measures: BusTelemetry | undefined
  readonly signer: Signer
  readonly guard: MessageVerifier
  readonly authorization: Authorization
  /** Times of this instance's messages. */
  readonly times: UniqueTimestamps
}

/** Opens nothing. */
export function busContext(options: ResolvedBus): BusContext {
  const { clock, logger, telemetry } = options
  const self = formatAddress(options.address)
  const channels = busChannels(options.channel)
  const names = bindingNames(channels, options)
  const measures = telemetry === undefined ? undefined : new BusTelemetry(telemetry, clock)
  const counters = new Counters(clock, logger, measures)
  const signer = new Signer(options.secrets, options.channel)
  return {
    ...options,
    self,
    channels,
    names,
    connection: new BinderAttachment(names, clock),
    counters,
    measures,
    signer,
    guard: new MessageVerifier({ ...options, signer, counters, self }),
    authorization: new Authorization(options.authorize, clock, options.handlerTimeoutMs),
    times: new UniqueTimestamps(options),
  }
}

function bindingNames(channels: BusChannels, { members }: ResolvedBus): BusBindings {
  const { events, acks, presence } = channels
  return { events: events.name, acks: acks.name, presence: members === undefined ? presence.name : undefined }
}
