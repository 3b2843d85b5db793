import { readFileSync } from 'node:fs'

/** Reads the output that the comment at the end of an example promises. */
export function expectedOutput(file: string): string {
  const [, block] = readFileSync(file, 'utf8').split('\n// Prints:\n')
  if (block === undefined) throw new Error(`${file} does not say what it prints`)
  return block.replaceAll(/^\/\/ /gm, '')
}
