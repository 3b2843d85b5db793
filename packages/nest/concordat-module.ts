import { type DynamicModule, Module, type ModuleMetadata, type Provider } from '@nestjs/common'
import { DiscoveryModule, DiscoveryService } from '@nestjs/core'
import type { Channel } from 'concordat/binder'
import { invalidOption, optionNames, refuseUnknown, requireFunction, wrongKind } from 'concordat/extension'
import { createService, type Service, type ServiceOptions } from 'concordat/service'
import { requireChannel, type SentChannel } from './check-channel-value.ts'
import type { OptionalPart } from './decorator-metadata.ts'
import { ConcordatHealth } from './health.ts'
import { ConcordatService, PARTS, type Sender, senderToken } from './injection.ts'
import { Lifecycle } from './lifecycle.ts'
import { allProvided, bindingsOf, type Provided, requireReachable, requireWanted } from './wiring.ts'

/**
 * Options of `ConcordatModule.forRoot`: those of `createService`. `bindings` and `sends` are added to those that providers
 * declare.
 */
export interface ConcordatModuleOptions extends ServiceOptions {
  /** `bootstrap`: the service starts with the application. `manual`: it starts with `service.start()`. @default 'bootstrap' */
  readonly start?: 'bootstrap' | 'manual' | undefined
}

/** Options of `ConcordatModule.forRootAsync`, as in Nest's own modules. */
export interface ConcordatModuleAsyncOptions {
  /** Modules that export the injected providers. @default none */
  readonly imports?: ModuleMetadata['imports']
  /** Arguments of `useFactory`. @default none */
  readonly inject?: ReadonlyArray<NonNullable<Extract<Provider, { inject?: unknown }>['inject']>[number]> | undefined
  /** Creates the options. Sagas whose steps call providers are created here. */
  readonly useFactory: (...injected: never[]) => ConcordatModuleOptions | Promise<ConcordatModuleOptions>
}

/** Options of `ConcordatModule.forFeature`. */
export interface ConcordatFeatureOptions {
  /** Channels that the module sends to: they can be injected with `InjectSender`, and are created before anything is sent. */
  readonly sends: readonly SentChannel[]
}

const ASYNC_NAMES = optionNames<ConcordatModuleAsyncOptions>({ imports: true, inject: true, useFactory: true })
const FEATURE_NAMES = optionNames<ConcordatFeatureOptions>({ sends: true })

const OPTIONS = 'concordat options'
const FEATURE = 'concordat feature'

/**
 * A service for a Nest application: use `forRoot` once, in the root module; its providers can be injected everywhere. It starts
 * in `onApplicationBootstrap` and closes in `beforeApplicationShutdown`.
 */
export class ConcordatModule {
  /** A service with these options. @throws TypeError / RangeError with the name of the option, when Nest creates it */
  static forRoot(options: ConcordatModuleOptions): DynamicModule {
    return ConcordatModule.forRootAsync({ useFactory: () => options })
  }

  /** A service whose options need other providers. @throws TypeError with the name of the option */
  static forRootAsync(options: ConcordatModuleAsyncOptions): DynamicModule {
    refuseUnknown('ConcordatModule.forRootAsync', options, ASYNC_NAMES)
    const { imports = [], inject = [], useFactory } = options
    requireFunction('ConcordatModule.forRootAsync.useFactory', useFactory)
    const parts = Object.entries(PARTS) as ReadonlyArray<readonly [OptionalPart, string]>
    const providers: Provider[] = [
      { provide: OPTIONS, inject: [...inject], useFactory: useFactory as (...injected: unknown[]) => unknown },
      { provide: ConcordatService, inject: [OPTIONS, DiscoveryService], useFactory: makeService },
      {
        provide: ConcordatHealth,
        inject: [ConcordatService],
        useFactory: (service: Service) => new ConcordatHealth(service),
      },
      { provide: Lifecycle, inject: [ConcordatService, OPTIONS, DiscoveryService], useFactory: makeLifecycle },
      ...parts.map(([name, provide]) => ({
        provide,
        inject: [ConcordatService],
        useFactory: (service: Service) => service[name],
      })),
    ]
    return {
      module: ConcordatModule,
      global: true,
      imports: [DiscoveryModule, ...imports],
      providers,
      exports: [ConcordatService, ConcordatHealth, ...Object.values(PARTS)],
    }
  }

  /** Registers the channels that a module of the application sends to. @throws TypeError with the name of the option */
  static forFeature(options: ConcordatFeatureOptions): DynamicModule {
    const path = 'ConcordatModule.forFeature'
    refuseUnknown(path, options, FEATURE_NAMES)
    const { sends } = options
    if (!Array.isArray(sends) || sends.length === 0) throw wrongKind(`${path}.sends`, sends, 'a list of channels')
    const channels = (sends as unknown as readonly Channel[]).map((channel, index) =>
      requireChannel(`${path}.sends[${index}]`, channel),
    )
    const senders = channels.map((channel) => ({
      provide: senderToken(channel.name),
      inject: [{ token: ConcordatService, optional: true }],
      useFactory: (service: Service | undefined) => senderOf(service, channel),
    }))
    const feature: Provider = { provide: FEATURE, useValue: { channels } }
    return { module: ConcordatModule, providers: [feature, ...senders], exports: senders.map(({ provide }) => provide) }
  }
}
Module({})(ConcordatModule)

function senderOf(service: Service | undefined, channel: Channel): Sender<unknown> {
  if (service === undefined)
    throw wrongKind(
      `ConcordatModule.forFeature("${channel.name}")`,
      undefined,
      'ConcordatModule.forRoot or forRootAsync among the imports of the root module',
    )
  return Object.freeze<Sender<unknown>>({ send: (payload, options) => service.send(channel, payload, options) })
}

function makeService(
  { start = 'bootstrap', ...options }: ConcordatModuleOptions,
  discovery: DiscoveryService,
): Service {
  const path = 'ConcordatModule.forRoot'
  if (start !== 'bootstrap' && start !== 'manual')
    throw invalidOption(`${path}.start`, start, "'bootstrap' or 'manual'")
  const all = allProvided(discovery)
  const roots = all.filter(({ token }) => token === ConcordatService)
  if (roots.length > 1)
    throw wrongKind(
      path,
      undefined,
      `one service in an application, and there are ${roots.length}: import forRoot once`,
    )
  const service = createService({
    ...options,
    bindings: [...(options.bindings ?? []), ...bindingsOf(all)],
    sends: [...(options.sends ?? []), ...featureChannels(all, options.sends ?? [])],
  })
  requireWanted(all, (part) => service[part] !== undefined)
  return service
}

/** Channels of features that are not in the options. */
function featureChannels(all: readonly Provided[], named: readonly SentChannel[]): readonly Channel[] {
  const features = all.filter(({ token }) => token === FEATURE)
  const channels = features.flatMap(({ instance }) => (instance as { readonly channels: readonly Channel[] }).channels)
  return [...new Set(channels)].filter((channel) => !named.includes(channel))
}

function makeLifecycle(service: Service, options: ConcordatModuleOptions, discovery: DiscoveryService): Lifecycle {
  return new Lifecycle(service, options, () => requireReachable(allProvided(discovery)))
}
