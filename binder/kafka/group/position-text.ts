/** Returns the position of a record in the form used in deliveries. */
export function positionOf(partition: number, offset: string | bigint | number): string {
  return `partition ${partition} offset ${offset}`
}

/** Returns the partition of a position from `positionOf`. */
export function partitionIn(position: string): number {
  return Number(/^partition (\d+) /.exec(position)?.[1])
}

/** Returns the offset of a position from `positionOf`. */
export function offsetIn(position: string): number {
  return Number(/ offset (\d+)$/.exec(position)?.[1])
}
