/**
 * A fair share of a group's partitions, decided by each member alone from two counts that everyone can read.
 *
 * RabbitMQ gives each queue with a single active consumer to the member that subscribed first, so the first member of a group would have them
 * all. Members therefore give up the surplus over their share; the broker passes each on to the member that has waited longest for it. There
 * is no coordination and no election: a wrong count costs a detour, never an order.
 */
export interface GroupView {
  readonly partitions: number
  /** Live members, this one included. */
  readonly members: number
  /** Members that have no partition. */
  readonly idle: number
  /** Partitions that this member has been getting messages from. */
  readonly active: number
}

/** How many of its partitions a member gives up. While someone has none, only the smaller share is fair. */
export function surplus({ partitions, members, idle, active }: GroupView): number {
  const share = partitions / Math.max(members, 1)
  const fair = idle > 0 ? Math.max(1, Math.floor(share)) : Math.ceil(share)
  return Math.max(0, active - fair)
}
