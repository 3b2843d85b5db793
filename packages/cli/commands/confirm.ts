/** Asks for a confirmation; without a yes, nothing happens. */
import { createInterface } from 'node:readline/promises'
import { printableLines } from '../printable.ts'
import { UsageError } from './command.ts'

export interface Terminal {
  readonly input: NodeJS.ReadableStream & { readonly isTTY?: boolean | undefined }
  readonly output: NodeJS.WritableStream
  /** When it aborts because the process is to end, the answer is no. @default never */
  readonly stop?: AbortSignal | undefined
}

/** Anything but `y` or `yes` is a no. @throws UsageError when stdin is not a terminal */
export async function ask({ input, output, stop }: Terminal, plan: string, question: string): Promise<boolean> {
  output.write(`${printableLines(plan)}\n`)
  if (input.isTTY !== true) throw new UsageError('stdin is not a terminal: pass --yes to skip the question')
  const lines = createInterface({ input, output, signal: stop })
  try {
    const closed = new Promise<string>((resolve) => lines.once('close', () => resolve('')))
    const answer = await Promise.race([lines.question(`${question} [y/N] `), closed])
    return /^y(?:es)?$/i.test(answer.trim())
  } finally {
    lines.close()
  }
}
