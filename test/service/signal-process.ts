/** A process that closes two services on SIGTERM, or one beside a listener of its own: `node signal-process.ts two|once|on`. */
import { setTimeout as pause } from 'node:timers/promises'
import { silentLogger } from 'concordat/core'
import { closeOnSignals } from 'concordat/service'

const SLOW_MS = 400
const say = (text: string): void => void process.stdout.write(`${text}\n`)
/** Keeps the process alive until it is closed. */
const idle = setInterval(() => {}, 1_000)

function service(name: string, ms: number): void {
  closeOnSignals({ after: [{ close: () => pause(ms).then(() => say(`${name} has closed`)) }], logger: silentLogger })
}

async function own(): Promise<void> {
  await pause(SLOW_MS)
  say('the listener of the program has ended')
  clearInterval(idle)
}

service('fast', 1)
if (process.argv[2] === 'two') service('slow', SLOW_MS)
else if (process.argv[2] === 'once') process.once('SIGTERM', () => void own())
else process.on('SIGTERM', () => void own())
say('ready')
