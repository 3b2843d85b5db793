import { wrongKind } from '../../core/option-checks.ts'
import type { Transport } from '../transport/transport.ts'

/** Owned transports, with the owner's name. */
const owners: WeakMap<Transport, string> = new WeakMap()
/** Parts of composed transports, which the owner of the whole owns. */
const parts: WeakMap<Transport, readonly Transport[]> = new WeakMap()

/**
 * Checks that a transport has no owner. The owner sets its name and clock and closes it, so two owners would interfere.
 * @throws TypeError naming the option and the owner
 */
export function requireFree(path: string, transport: Transport): Transport {
  const owner = [transport, ...(parts.get(transport) ?? [])].map((each) => owners.get(each)).find(Boolean)
  if (owner === undefined) return transport
  throw wrongKind(path, transport, `one of its own and not that of ${owner}, which closes it: make another`)
}

export function claim(transport: Transport, owner: string): void {
  for (const each of [transport, ...(parts.get(transport) ?? [])]) owners.set(each, owner)
}

/** Records the parts of a transport. */
export function consistsOf(transport: Transport, of: readonly Transport[]): void {
  parts.set(
    transport,
    of.flatMap((each) => [each, ...(parts.get(each) ?? [])]),
  )
}
