/** `audit`: who did what, and why. */
import { type Command, DATABASE_OPTIONS } from './command.ts'
import { iso, table } from './output.ts'
import { none, whole } from './values.ts'

const audit: Command = {
  name: 'audit',
  summary: 'lists what operators did, newest first',
  options: {
    limit: { type: 'string', hint: 'N', about: 'at most so many (default: 100)' },
    before: { type: 'string', hint: 'MS', about: 'before this moment in ms since 1970: `at` of the last line' },
    ...DATABASE_OPTIONS,
  },
  examples: ['npx concordat audit --limit 20', 'npx concordat audit --json'],
  async run({ values, positionals, operator }) {
    none(positionals)
    const found = await (await operator()).audit({ limit: whole(values, 'limit'), before: whole(values, 'before') })
    const rows = found.map(({ at, part, action, target, by, reason, outcome }) => [
      iso(at),
      `${part} ${action}`,
      target,
      by,
      reason,
      outcome ?? '-',
    ])
    return { text: `${table(['AT', 'ACTION', 'TARGET', 'BY', 'REASON', 'OUTCOME'], rows)}\n`, json: { actions: found } }
  },
}

export const AUDIT_COMMANDS: readonly Command[] = [audit]
