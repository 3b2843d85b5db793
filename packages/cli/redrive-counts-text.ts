import type { RedriveCounts } from './engine-types.ts'
import { counted } from './words.ts'

/**
 * Result of a redrive or a drop in words: `50 sent back, 0 kept, 2 second copies dropped`. Without copies the last part is
 * absent.
 */
export function countsText({ sent, kept, copies }: RedriveCounts, verb: string): string {
  const dropped = copies === 0 ? '' : `, ${counted(copies, 'second copy', 'second copies')} dropped`
  return `${sent} ${verb}, ${kept} kept${dropped}`
}
