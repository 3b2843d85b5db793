import { wrongKind } from '../../core/options.ts'
import type { Transport } from '../transport/transport.ts'

/** Transports that somebody has, by what it is called. */
const owners: WeakMap<Transport, string> = new WeakMap()

/**
 * Whoever is given a transport names it, hands it a clock and closes it in the end: two would cut each other off.
 * @throws TypeError naming the option and who has it
 */
export function requireFree(path: string, transport: Transport): Transport {
  const owner = owners.get(transport)
  if (owner === undefined) return transport
  throw wrongKind(path, transport, `one of its own and not that of ${owner}, which closes it: make another`)
}

export function claim(transport: Transport, owner: string): void {
  owners.set(transport, owner)
}
