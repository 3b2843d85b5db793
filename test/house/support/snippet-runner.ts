/**
 * Runs programs of the documentation one after the other in this process, which loads the package once. Copied into the
 * project where they are. Sends the parent a message for each program: its output, once it has ended by itself.
 *
 * Arguments: the files.
 */
import { setTimeout as pause } from 'node:timers/promises'
import { pathToFileURL } from 'node:url'

export interface SnippetRun {
  readonly file: string
  readonly printed: string
  /** Error that the program threw, or the handle that it kept open. */
  readonly failure?: string
}

const ENDS_WITHIN_MS = 60_000

let printed = ''
process.stdout.write = ((text: string | Uint8Array): boolean => {
  printed += typeof text === 'string' ? text : Buffer.from(text).toString()
  return true
}) as typeof process.stdout.write

// A channel that is listened to keeps the process alive, until `disconnect`.
process.on('message', () => {})

/** Lists the handles that keep this process alive, except the channel to its parent and the timer of `ended`. */
const open = (): readonly string[] => process.getActiveResourcesInfo().filter((name) => !BEFORE.includes(name))
const BEFORE: readonly string[] = process.getActiveResourcesInfo()

async function ended(): Promise<string | undefined> {
  const deadline = performance.now() + ENDS_WITHIN_MS
  while (open().length > 0) {
    if (performance.now() > deadline) return `it does not end: ${open().join(', ')} stay open`
    // Unreferenced timers do not count as open.
    await pause(5, undefined, { ref: false })
  }
  return undefined
}

for (const file of process.argv.slice(2)) {
  printed = ''
  const failure = await import(pathToFileURL(file).href).then(ended, (error: unknown) => String(error))
  const run: SnippetRun = { file, printed, ...(failure !== undefined && { failure }) }
  await new Promise((resolve) => process.send?.(run, resolve))
}
process.disconnect?.()
