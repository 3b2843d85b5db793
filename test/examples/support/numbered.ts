import { readFileSync } from 'node:fs'

/** What the end of an example says that it prints. */
export function expectedOutput(file: string): string {
  const [, block] = readFileSync(file, 'utf8').split('\n// Prints:\n')
  if (block === undefined) throw new Error(`${file} does not say what it prints`)
  return block.replaceAll(/^\/\/ /gm, '')
}
