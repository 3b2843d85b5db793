import type { SqlTransaction } from '../../core/sql.ts'
import type { TransportError } from '../errors.ts'
import { within } from '../transport/kit/deadline.ts'
import type { DestinationSpec } from '../transport/transport.ts'
import type { LogContext } from './context.ts'
import type { KnownDestination } from './destination-directory.ts'
import { failure, toTransportError } from './transport-errors.ts'

/** A destination, or the error of the lookup; `undefined`: it does not exist. */
export type FoundDestination = KnownDestination | TransportError | undefined

/** Finds the destination of a message, and recreates one that this process had created and that is gone. Never rejects. */
export class DestinationLookup {
  readonly #context: LogContext

  constructor(context: LogContext) {
    this.#context = context
  }

  /**
   * Returns at once if the destination is known.
   * @param tx the caller's transaction @param specOf destinations that the caller may create
   */
  find(
    destination: string,
    tx?: SqlTransaction,
    specOf?: (destination: string) => DestinationSpec,
  ): FoundDestination | Promise<FoundDestination> {
    const found = this.#context.directory.find(destination, tx)
    return found === undefined || found instanceof Promise ? this.#looked(destination, found, tx, specOf) : found
  }

  /** @param deadline monotonic time after which the result is a `timeout` */
  async findBefore(deadline: number, destination: string): Promise<FoundDestination> {
    const found = this.find(destination)
    if (!(found instanceof Promise)) return found
    const { clock } = this.#context.host
    const late = (): TransportError =>
      failure('timeout', `could not look for "${destination}" before the time of its send was up`, { destination })
    return within(clock, deadline - clock.monotonic(), found, late).catch((error: TransportError) => error)
  }

  async #looked(
    destination: string,
    found: Promise<KnownDestination | undefined> | undefined,
    tx?: SqlTransaction,
    specOf?: (destination: string) => DestinationSpec,
  ): Promise<FoundDestination> {
    const { directory, options } = this.#context
    try {
      const known = await found
      const spec = known === undefined ? (specOf?.(destination) ?? directory.specOf(destination)) : undefined
      if (spec === undefined) return known
      return await directory.make(spec, options.sql.exclusive === undefined ? undefined : tx)
    } catch (error) {
      return toTransportError(`look for "${destination}"`, error, options.schema, destination)
    }
  }
}
