/** Injection tokens of providers: the service, its parts, and senders for one channel. */
import { Inject } from '@nestjs/common'
import type { Channel, SendOptions } from 'concordat/binder'
import type { Service } from 'concordat/service'
import { requireChannel } from './check-channel-value.ts'
import { declareWanted, type OptionalPart } from './decorator-metadata.ts'

/**
 * The service as a class, for Nest's injection by type: `constructor(private readonly service: ConcordatService) {}`. The
 * injected object is the one created by `createService`.
 */
// oxlint-disable-next-line typescript/no-unsafe-declaration-merging -- a token: never instantiated
export abstract class ConcordatService {}
/** All members of a service. */
export interface ConcordatService extends Service<string> {}

/** The tokens of the parts. Nest prints them if one cannot be resolved. */
export const PARTS: Readonly<Record<OptionalPart, string>> = {
  coordinator: 'concordat coordinator',
  outbox: 'concordat outbox',
  locks: 'concordat locks',
  bus: 'concordat bus',
}

/** The token of the sender of this channel. */
export function senderToken(name: string): string {
  return `concordat sender of "${name}", from ConcordatModule.forFeature({ sends: [...] })`
}

/** Sends to one channel; injected by `InjectSender`. */
export interface Sender<In> {
  /**
   * Resolves when the broker has confirmed. To send together with a change of data, use `transaction` of the service. @throws the
   * errors of `binder.send`
   */
  send(payload: In, options?: SendOptions): Promise<{ readonly id: string }>
}

/** Decorates a parameter of a constructor, or a property. */
export type InjectDecorator = PropertyDecorator & ParameterDecorator

/** Injects the `Service`. Like a parameter of type `ConcordatService`, for compilers that emit no types. */
export function InjectService(): InjectDecorator {
  return Inject(ConcordatService)
}

/** Injects the `Coordinator`. A service without `sagas` then does not start. */
export function InjectCoordinator(): InjectDecorator {
  return part('coordinator')
}

/** Injects the `Outbox`. A service without `sql` then does not start. */
export function InjectOutbox(): InjectDecorator {
  return part('outbox')
}

/** Injects the `Locks`. A service without `locks` then does not start. */
export function InjectLocks(): InjectDecorator {
  return part('locks')
}

/** Injects the `Bus`. A service without `bus` then does not start. */
export function InjectBus(): InjectDecorator {
  return part('bus')
}

/**
 * Injects a `Sender` of this channel, which must be in `ConcordatModule.forFeature({ sends: [channel] })`.
 * @throws TypeError if it is not a channel
 */
export function InjectSender<In, Out>(channel: Channel<In, Out>): InjectDecorator {
  return Inject(senderToken(requireChannel('@InjectSender', channel).name))
}

function part(name: OptionalPart): InjectDecorator {
  const inject = Inject(PARTS[name])
  return (target: object, key: string | symbol | undefined, index?: number) => {
    declareWanted(target, name)
    inject(target, key as string, index as number)
  }
}
