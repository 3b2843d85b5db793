/** `npm run format`, `npm run check:format`: runs Biome with the given arguments. Installs it first. */
import { spawnSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { join } from 'node:path'

const HERE = import.meta.dirname
const BIOME = join(HERE, 'node_modules/@biomejs/biome/bin/biome')

if (!existsSync(BIOME)) {
  const { status } = spawnSync('npm', ['ci', '--no-audit', '--no-fund'], { cwd: HERE, stdio: 'inherit' })
  if (status !== 0) {
    console.error('format: Biome is not installed. Check the network, then run this again.')
    process.exit(1)
  }
}
const { status } = spawnSync(process.execPath, [BIOME, ...process.argv.slice(2)], { stdio: 'inherit' })
process.exitCode = status ?? 1
