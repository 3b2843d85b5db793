/**
 * A number with its noun: `1 key`, `2 keys`. What agrees with it goes along: `counted(n, 'key is held', 'keys are held')`.
 * @param many @default `one` with an s
 */
export function counted(count: number, one: string, many: string = `${one}s`): string {
  return `${count} ${count === 1 ? one : many}`
}
