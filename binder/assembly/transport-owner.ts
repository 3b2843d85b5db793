import { wrongKind } from '../../core/options.ts'
import type { Transport } from '../transport/transport.ts'

/** Transports that somebody has, by what it is called. */
const owners: WeakMap<Transport, string> = new WeakMap()
/** What transports are made of: whoever has one has its parts. */
const parts: WeakMap<Transport, readonly Transport[]> = new WeakMap()

/**
 * Whoever is given a transport names it, hands it a clock and closes it in the end: two would cut each other off.
 * @throws TypeError naming the option and who has it
 */
export function requireFree(path: string, transport: Transport): Transport {
  const owner = [transport, ...(parts.get(transport) ?? [])].map((each) => owners.get(each)).find(Boolean)
  if (owner === undefined) return transport
  throw wrongKind(path, transport, `one of its own and not that of ${owner}, which closes it: make another`)
}

export function claim(transport: Transport, owner: string): void {
  for (const each of [transport, ...(parts.get(transport) ?? [])]) owners.set(each, owner)
}

/** Says that it is made of these. */
export function consistsOf(transport: Transport, of: readonly Transport[]): void {
  parts.set(
    transport,
    of.flatMap((each) => [each, ...(parts.get(each) ?? [])]),
  )
}
