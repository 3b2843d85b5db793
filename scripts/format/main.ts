/** `npm run format`, `npm run check:format`: runs Biome with the given arguments. Installs it first. */
import { spawnSync } from 'node:child_process'
import { join } from 'node:path'
import { installPackages } from '../install-packages.ts'

installPackages(import.meta.dirname)
const biome = join(import.meta.dirname, 'node_modules/@biomejs/biome/bin/biome')
const { status } = spawnSync(process.execPath, [biome, ...process.argv.slice(2)], { stdio: 'inherit' })
process.exitCode = status ?? 1
