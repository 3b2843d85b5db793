import { toError } from '../core/errors.ts'
import type { Logger } from '../core/logger.ts'
import { type Address, type AddressPattern, formatAddress, matches, parseAddress } from './address.ts'
import type { BusMember } from './bus.ts'
import type { BusOptions } from './options.ts'
import type { Presence } from './presence.ts'

/** Live instances, always including this one: from the option `members`, or from announcements. */
export class Members {
  readonly #own: Address
  readonly #given: BusOptions['members']
  readonly #presence: Presence | undefined
  readonly #logger: Logger

  constructor(own: Address, given: BusOptions['members'], presence: Presence | undefined, logger: Logger) {
    this.#own = own
    this.#given = given
    this.#presence = presence
    this.#logger = logger
  }

  /** @throws errors of the option `members` */
  async live(): Promise<readonly Address[]> {
    const others = this.#given === undefined ? (this.#presence?.live() ?? []) : this.#addresses(await this.#given())
    const own = formatAddress(this.#own)
    return [this.#own, ...others.filter((address) => formatAddress(address) !== own)]
  }

  /** @throws errors of the option `members` */
  async addressed(to: AddressPattern): Promise<readonly string[]> {
    return (await this.live()).filter((address) => matches(to, address)).map((address) => formatAddress(address))
  }

  /** A name that is not an address cannot be addressed, so it cannot be missing either. */
  #addresses(members: readonly BusMember[]): readonly Address[] {
    return members.flatMap((member) => {
      try {
        return [parseAddress(formatAddress(member))]
      } catch (error) {
        this.#logger.warn({ err: toError(error) }, 'bus: a member cannot be addressed, it is left out')
        return []
      }
    })
  }
}
