/** `topology`: declared services, channels, sagas and roles. */

import { describeSystem } from 'concordat/operator'
import { systemMermaid } from '../system/mermaid.ts'
import { systemText } from '../system/text.ts'
import type { Command } from './command.ts'
import { MODULE, readDeclarations } from './read-declarations.ts'
import { flag, none } from './values.ts'

const topology: Command = {
  name: 'topology',
  summary: 'shows who sends what to whom: of the services that a module exports, without running them',
  takes: `[${MODULE}]`,
  options: { mermaid: { type: 'boolean', about: 'a flowchart in Mermaid' } },
  examples: ['npx concordat topology', 'npx concordat topology concordat.config.ts --mermaid'],
  async run({ values, positionals }) {
    const [path, ...rest] = positionals
    none(rest)
    const { services } = await readDeclarations(path)
    const system = describeSystem(services)
    return { text: flag(values, 'mermaid') ? systemMermaid(system) : systemText(system), json: system }
  },
}

export const TOPOLOGY_COMMANDS: readonly Command[] = [topology]
