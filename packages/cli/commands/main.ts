#!/usr/bin/env node
/** `npx concordat`: see `run-command-line.ts`. */
import { setTimeout as sleep } from 'node:timers/promises'
import { run } from './run-command-line.ts'

const WATCH_MS = 2_000

/** kafkajs sets a timer with a negative delay for each connection. Node 24 warns on stderr; the timer does no harm. */
const warn = process.emitWarning.bind(process) as (warning: string | Error, ...rest: unknown[]) => void
process.emitWarning = (warning: string | Error, ...rest: unknown[]): void => {
  const [options] = rest
  const type = typeof options === 'object' ? (options as { type?: unknown } | null)?.type : options
  const name = warning instanceof Error ? warning.name : type
  if (name !== 'TimeoutNegativeWarning') warn(warning, ...rest)
}

const written = (stream: NodeJS.WritableStream, text: string): Promise<Error | null | undefined> =>
  new Promise((resolve) => stream.write(text, resolve))

const { stdin: input, stdout, stderr: output, env } = process
const args = process.argv.slice(2)
const watches = args.includes('--watch') && !args.includes('--help')
const CLEAR = '\u001b[H\u001b[2J'
const fresh = (): string => (watches && stdout.isTTY ? CLEAR : '')
/** The first error of stdout. */
let failure: (Error & { readonly code?: unknown }) | undefined
const print = async (text: string): Promise<void> => {
  const error = await written(stdout, `${fresh()}${text}`)
  failure ??= error ?? undefined
}
// These commands end their streams and connections, or report their progress; other commands just end.
const STOPPABLE = /^(?:console|instances|dlq (?:redrive|drop))\b/
const stopping = new AbortController()
if (STOPPABLE.test(args.join(' ')))
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => stopping.abort())
stdout.on('error', () => stopping.abort())
// A command with effects continues without a reader of its progress.
output.on('error', () => {})
do {
  const printed = await run(args, { input, output, env, print, stop: stopping.signal })
  await print(printed.stdout)
  await written(output, printed.stderr)
  process.exitCode = printed.code
  // After EPIPE the reader needs no more output: `| head`.
  if (failure !== undefined && failure.code !== 'EPIPE') {
    await written(output, `concordat: the output was not written: ${failure.message}\n`)
    process.exitCode ||= 1
  }
  // Repeating cannot correct a mistake on the command line; an unavailable server, or a problem in the doctor's report, may go.
  const isMistake = printed.code === 2 && printed.stderr !== ''
  if (isMistake || !watches || stopping.signal.aborted) break
  await sleep(WATCH_MS)
} while (watches)
// A loaded module of the user may keep the process running.
process.exit()
