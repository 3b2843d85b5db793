#!/usr/bin/env node
/** `npx concordat`: see `run.ts`. */
import { setTimeout as sleep } from 'node:timers/promises'
import { run } from './run.ts'

const WATCH_MS = 2_000

const written = (stream: NodeJS.WritableStream, text: string): Promise<void> =>
  new Promise((resolve) => stream.write(text, () => resolve()))

const { stdin: input, stdout, stderr: output, env } = process
const args = process.argv.slice(2)
const watches = args.includes('--watch') && !args.includes('--help')
const print = (text: string): Promise<void> => written(stdout, text)
// The console ends its streams and its connections; other commands just end.
const stopping = new AbortController()
if (args[0] === 'console')
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => stopping.abort())
// Whoever reads it may have seen enough: `| head`.
stdout.on('error', () => process.exit(0))
do {
  const printed = await run(args, { input, output, env, print, stop: stopping.signal })
  if (watches && stdout.isTTY) stdout.write('\u001b[H\u001b[2J')
  await written(stdout, printed.stdout)
  await written(output, printed.stderr)
  process.exitCode = printed.code
  // A mistake on the command line stays one; a server that is away may come back.
  if (printed.code === 2 || !watches) break
  await sleep(WATCH_MS)
} while (watches)
// A user's module that was read may hold the process.
process.exit()
