import type { SystemTopology } from 'concordat/operator'
import type { DeadLetterPlace } from '../dead-letter-types.ts'
import type { InstancesView } from '../instances.ts'

/** Groups that may have dead letters, of the bindings that services declare. */
export function declaredPlaces(topology: SystemTopology | null): readonly DeadLetterPlace[] {
  const partitions = new Map(topology?.channels.map((channel) => [channel.name, channel.partitions]))
  const bindings = topology?.services.flatMap((service) => service.bindings) ?? []
  return bindings.flatMap(({ input, group, deadLetters }) =>
    input === null || group === null || deadLetters === null
      ? []
      : [{ channel: input, group, partitions: partitions.get(input) }],
  )
}

/** Groups of the bindings that instances report over the bus. */
export function reportedPlaces({ bindings }: InstancesView): readonly DeadLetterPlace[] {
  return bindings.flatMap(({ channel, group, partitions }) => (group === null ? [] : [{ channel, group, partitions }]))
}
