/**
 * A number with its noun: `1 key`, `2 keys`, and with words that agree with it: `counted(n, 'key is held', 'keys are held')`.
 * @param many @default `one` with an s
 */
export function counted(count: number, one: string, many: string = `${one}s`): string {
  return `${count} ${count === 1 ? one : many}`
}
