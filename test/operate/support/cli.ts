/** The command line as its process runs it, without the second that a process takes to start. */
import { Readable, Writable } from 'node:stream'
// oxlint-disable-next-line no-restricted-imports -- inside of the command line: what its process runs
import { run } from '../../../packages/cli/commands/run-command-line.ts'

export interface Ran {
  readonly stdout: string
  readonly stderr: string
  readonly code: number
}

/** Not a terminal. */
export async function ranHere(
  args: readonly string[],
  env: Readonly<Record<string, string | undefined>>,
): Promise<Ran> {
  let said = ''
  const output = new Writable({
    write(chunk, _encoding, done) {
      said += String(chunk)
      done()
    },
  })
  const { stdout, stderr, code } = await run(args, { input: Readable.from([]), output, env })
  return { stdout, stderr: `${said}${stderr}`, code }
}
