import { invalidOption } from '../../core/errors.ts'
import { resolveConsumer } from '../bindings/resolve-options.ts'
import { retryName } from '../consuming/failure/retry-destination.ts'
import type { Transport } from '../transport/transport.ts'
import { type Declared, plannedSpecs } from './topology.ts'

/**
 * Refuses a declared channel if messages of another one wait there: each would receive the other's messages.
 * @throws TypeError naming both
 */
export function requireFreeNames(declared: Declared, transport: Pick<Transport, 'describe'>): void {
  const { bindings, destinations } = declared
  const channels = new Map(destinations.map((spec) => [spec.name, spec]))
  for (const binding of bindings) {
    const { group } = binding.kind === 'source' ? { group: null } : resolveConsumer(binding)
    if (binding.kind === 'source' || group === null) continue
    const { name } = binding.input
    if (channels.has(retryName(name, group))) throw taken(retryName(name, group), `the retries of "${name} / ${group}"`)
  }
  for (const spec of plannedSpecs(declared).values()) {
    for (const { kind, name } of transport.describe?.({ ...spec, delays: true }) ?? []) {
      const other = name === spec.name ? undefined : channels.get(name)
      const parts = other === undefined ? [] : (transport.describe?.(other) ?? [])
      if (parts.some((part) => part.kind === kind && part.name === name))
        throw taken(name, `the delayed messages of "${spec.name}"`)
    }
  }
}

function taken(name: string, by: string): TypeError {
  return invalidOption('a channel of createBinder', name, `another name, for this one holds ${by}`)
}
