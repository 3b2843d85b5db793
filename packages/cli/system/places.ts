/** Groups that may have dead letters: those of what services declare, and those that instances report over the bus. */
import type { InstancesView } from '../instances.ts'
import type { DeadLetterPlace } from '../letters.ts'
import type { SystemTopology } from './system.ts'

export function declaredPlaces(topology: SystemTopology | null): readonly DeadLetterPlace[] {
  const partitions = new Map(topology?.channels.map((channel) => [channel.name, channel.partitions]))
  const bindings = topology?.services.flatMap((service) => service.bindings) ?? []
  return bindings.flatMap(({ input, group, deadLetters }) =>
    input === null || group === null || deadLetters === null
      ? []
      : [{ channel: input, group, partitions: partitions.get(input) }],
  )
}

export function reportedPlaces({ bindings }: InstancesView): readonly DeadLetterPlace[] {
  return bindings.flatMap(({ channel, group, partitions }) => (group === null ? [] : [{ channel, group, partitions }]))
}
