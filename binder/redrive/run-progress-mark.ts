import { SECOND } from '../../core/clock.ts'
import { newId } from '../../core/ids.ts'
import { endedMark } from './marker-messages.ts'
import type { RedrivePlaces } from './places.ts'
import type { ResolvedRedrive } from './redrive.ts'

export const TELL_MS: number = 5 * SECOND

/** Number of positions that are remembered to recognise redeliveries. */
const MOST_POSITIONS = 100_000

/** How far a run has settled, in order. */
export class RunProgressMark {
  readonly #positions: Set<string> = new Set()
  #last: string | undefined

  #hasTold = false

  /** @param position of a delivery; a redelivery after a loss changes nothing */
  add(position: string): void {
    if (this.#positions.has(position)) return
    this.#last = position
    this.#positions.add(position)
    if (this.#positions.size > MOST_POSITIONS)
      for (const oldest of this.#positions) return void this.#positions.delete(oldest)
  }

  /**
   * Writes the progress behind the letters, once, if the broker may forget the position of the run. Failures are logged.
   * @returns true if it was written
   */
  async tell(options: ResolvedRedrive, { owner, letters }: RedrivePlaces): Promise<boolean> {
    const { dryRun, transport, clock, logger, id } = options
    if (dryRun || owner.withoutPosition === undefined || this.#hasTold) return false
    this.#hasTold = true
    const mark = endedMark({ id: newId(), destination: letters.name, time: clock.now() }, id, this.#last)
    const [refused] = await transport.publish([mark], { deadline: clock.monotonic() + TELL_MS })
    if (refused !== undefined) logger.warn({ err: refused, id }, 'redrive could not write down how far it has come')
    return refused === undefined
  }
}
