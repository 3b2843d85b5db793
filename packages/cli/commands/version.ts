/** `version`, and `--version`. */
import { fileURLToPath } from 'node:url'
import type { Command } from './command.ts'
import { packageOf } from './read-declarations.ts'
import { none } from './values.ts'

const version: Command = {
  name: 'version',
  summary: 'prints the version of this package and of Node; so does --version',
  options: {},
  examples: ['npx concordat version', 'npx concordat --version'],
  async run({ positionals }) {
    none(positionals)
    const { version: own } = await packageOf(fileURLToPath(import.meta.url))
    return { text: `concordat ${own}, Node ${process.version}\n`, json: { concordat: own, node: process.version } }
  },
}

export const VERSION_COMMANDS: readonly Command[] = [version]
