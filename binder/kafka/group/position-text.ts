/** Where a record lies, as deliveries say it. */
export function positionOf(partition: number, offset: string | bigint | number): string {
  return `partition ${partition} offset ${offset}`
}

/** The partition in what `positionOf` gave. */
export function partitionIn(position: string): number {
  return Number(/^partition (\d+) /.exec(position)?.[1])
}

/** The offset in what `positionOf` gave. */
export function offsetIn(position: string): number {
  return Number(/ offset (\d+)$/.exec(position)?.[1])
}
