/** Injection tokens of providers: the service, its parts, and senders for one channel. */
import { Inject } from '@nestjs/common'
import type { Channel, SendOptions } from 'concordat/binder'
import type { Service } from 'concordat/service'
import { requireChannel } from './check-channel-value.ts'
import { declareWanted, type OptionalPart } from './decorator-metadata.ts'

/**
 * The service as a class, for Nest's injection by type: `constructor(private readonly service: ConcordatService) {}`. What is
 * injected is the object that `createService` made.
 */
// oxlint-disable-next-line typescript/no-unsafe-declaration-merging -- a token: never instantiated
export abstract class ConcordatService {}
/** Everything that a service has. */
export interface ConcordatService extends Service<string> {}

/** The tokens of the parts. Nest prints them where one cannot be had. */
export const PARTS: Readonly<Record<OptionalPart, string>> = {
  coordinator: 'concordat coordinator',
  outbox: 'concordat outbox',
  locks: 'concordat locks',
  bus: 'concordat bus',
}

/** The token of what sends to this channel. */
export function senderToken(name: string): string {
  return `concordat sender of "${name}", from ConcordatModule.forFeature({ sends: [...] })`
}

/** Sends to one channel; injected by `InjectSender`. */
export interface Sender<In> {
  /** Resolves when the broker has confirmed. To send with a change of data, use `transaction` of the service. @throws as `binder.send` */
  send(payload: In, options?: SendOptions): Promise<{ readonly id: string }>
}

/** Decorates a parameter of a constructor, or a property. */
export type InjectDecorator = PropertyDecorator & ParameterDecorator

/** Injects the `Service`. The same as a parameter of type `ConcordatService`, for those whose compiler writes no types. */
export function InjectService(): InjectDecorator {
  return Inject(ConcordatService)
}

/** Injects the `Coordinator`. A service without `sagas` does not start then. */
export function InjectCoordinator(): InjectDecorator {
  return part('coordinator')
}

/** Injects the `Outbox`. A service without `sql` does not start then. */
export function InjectOutbox(): InjectDecorator {
  return part('outbox')
}

/** Injects the `Locks`. A service without `locks` does not start then. */
export function InjectLocks(): InjectDecorator {
  return part('locks')
}

/** Injects the `Bus`. A service without `bus` does not start then. */
export function InjectBus(): InjectDecorator {
  return part('bus')
}

/**
 * Injects a `Sender` of this channel, which `ConcordatModule.forFeature({ sends: [channel] })` names.
 * @throws TypeError when it is no channel
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
