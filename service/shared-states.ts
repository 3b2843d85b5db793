import { wrongKind } from '../core/option-checks.ts'
import type { SharedState } from '../election/cluster/state/state.ts'
import { createSharedState } from '../election/cluster/state/state-map.ts'
import type { ResolvedService } from './options.ts'
import type { StateOptions } from './service.ts'

/** The shared states of a service by name, each created once, in the service's cluster. */
export class SharedStates {
  readonly #options: ResolvedService
  readonly #states = new Map<string, SharedState<unknown>>()

  constructor(options: ResolvedService) {
    this.#options = options
  }

  /** @throws TypeError without a cluster, or when options are passed for an existing state */
  named<Out, In>(name: string, options: StateOptions<Out, In> | undefined): SharedState<Out, In> {
    const known = this.#states.get(name)
    if (known !== undefined && options !== undefined) {
      throw wrongKind(`sharedState(${JSON.stringify(name)}) options`, options, 'no options: the state has them already')
    }
    const state = known ?? this.#make(name, options)
    return state as unknown as SharedState<Out, In>
  }

  #make<Out, In>(name: string, options: StateOptions<Out, In> | undefined): SharedState<unknown> {
    const { cluster, identity } = this.#options
    if (cluster === undefined) {
      throw wrongKind(
        `${identity.service}.sharedState`,
        undefined,
        'a service with cluster: createService({ cluster })',
      )
    }
    const { logger, telemetry, service } = identity
    const own = { store: cluster.store, cluster: cluster.name ?? service, name, logger, telemetry }
    const state = createSharedState<Out, In>({ ...options, ...own })
    this.#states.set(name, state as unknown as SharedState<unknown>)
    return state as unknown as SharedState<unknown>
  }

  /** Never rejects, like the states' own `close`. */
  async close(): Promise<void> {
    await Promise.all([...this.#states.values()].map((state) => state.close()))
  }
}
