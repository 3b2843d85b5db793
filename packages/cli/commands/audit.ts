/** `audit`: the actions of operators, with person and reason. */
import { type Command, DATABASE_OPTIONS, UsageError, type Values } from './command.ts'
import { cutLine, iso, table } from './output.ts'
import { none, text, whole } from './values.ts'

const DEFAULT_LIMIT = 100

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
    const limit = whole(values, 'limit') ?? DEFAULT_LIMIT
    const found = await (await operator()).audit({ limit, before: beforeIn(values) })
    const rows = found.map(({ at, part, action, target, by, reason, outcome }) => [
      iso(at),
      `${part} ${action}`,
      target,
      by,
      reason,
      outcome ?? '-',
    ])
    const more = found.length >= limit
    const cut = cutLine(more, limit, `: give --before ${found.at(-1)?.at}, or raise --limit`)
    const said = table(['AT', 'ACTION', 'TARGET', 'BY', 'REASON', 'OUTCOME'], rows)
    return { text: `${said}\n${cut}`, json: { actions: found, more } }
  },
}

/** Times of the server have microseconds. @throws UsageError */
function beforeIn(values: Values): number | undefined {
  const value = text(values, 'before')
  if (value === undefined || /^\d{1,15}(?:\.\d{1,6})?$/.test(value)) return value === undefined ? value : Number(value)
  throw new UsageError(`--before: expected ms since 1970, got "${value}"`)
}

export const AUDIT_COMMANDS: readonly Command[] = [audit]
