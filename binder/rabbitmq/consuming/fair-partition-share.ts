/**
 * A fair share of a group's partitions, computed by each member alone from two counts that all can read.
 *
 * RabbitMQ gives each queue with a single active consumer to the member that subscribed first, so the first member of a group
 * would have all of them. Members therefore give up the surplus over their share; the broker passes each on to the member that
 * has waited longest for it. There is no coordination and no election: a wrong count costs an additional handover, never the
 * order.
 */
export interface GroupView {
  readonly partitions: number
  /** Number of live members, including this one. */
  readonly members: number
  /** Number of members without a partition. */
  readonly idle: number
  /** Number of partitions from which this member receives messages. */
  readonly active: number
}

/** Returns how many of its partitions a member gives up. While a member has none, only the smaller share is fair. */
export function surplus({ partitions, members, idle, active }: GroupView): number {
  const share = partitions / Math.max(members, 1)
  const fair = idle > 0 ? Math.max(1, Math.floor(share)) : Math.ceil(share)
  return Math.max(0, active - fair)
}
