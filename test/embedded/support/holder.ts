/**
 * Takes the lock of a folder, reports it, and keeps it until the process is killed; or reports why not. `holder.ts DIR`; with
 * `busy` its main thread is blocked from then on.
 */
import { systemClock } from 'concordat/core'
import { lockDirectory } from '../inside.ts'

const [directory = '', mode] = process.argv.slice(2)
process.stdin.on('end', () => process.exit()).resume()
try {
  await lockDirectory(directory, systemClock)
  process.stdout.write('held\n')
} catch (error) {
  process.stdout.write(`${String(error)}\n`)
  process.exit()
}
while (mode === 'busy');
