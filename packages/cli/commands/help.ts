/** Creates the help from the definitions of the commands. */
import { COMMON_OPTIONS, type Command, type OptionSpecs } from './command.ts'

/** @param prefix the first word of a group: `saga` */
export function overview(commands: readonly Command[], prefix?: string): string {
  const shown = commands.filter(({ name }) => prefix === undefined || name.split(' ')[0] === prefix)
  const width = Math.max(...shown.map(({ name }) => name.length))
  return [
    'Usage: concordat <command> [options]',
    '',
    'Commands:',
    ...shown.map(({ name, summary }) => `  ${name.padEnd(width)}  ${summary}`),
    '',
    'Options of every command:',
    ...optionLines(COMMON_OPTIONS),
    '',
    'The database: --postgres URL, or the environment: CONCORDAT_POSTGRES, or PGHOST, PGUSER, PGPASSWORD, PGDATABASE,',
    'or where neither says it, concordat.config.ts in this folder: export const addresses = { postgres, kafka, ... }.',
    'A password belongs in the environment: others on the machine can read a command line.',
    'Exit code: 0 good, 1 refused or not found, 2 a mistake on the command line, 3 the database does not answer.',
    '',
    'Examples:',
    ...shown.flatMap(({ examples }) => examples.slice(0, 1).map((example) => `  ${example}`)),
    '',
    'More: concordat <command> --help',
    '',
  ].join('\n')
}

export function helpOf({ name, summary, takes, options, examples }: Command): string {
  return [
    `Usage: concordat ${name}${takes === undefined ? '' : ` ${takes}`} [options]`,
    '',
    `It ${summary}.`,
    '',
    'Options:',
    ...optionLines({ ...options, ...COMMON_OPTIONS }),
    '',
    'Examples:',
    ...examples.map((example) => `  ${example}`),
    '',
  ].join('\n')
}

function optionLines(options: OptionSpecs): readonly string[] {
  const rows = Object.entries(options).map(([name, { hint, about }]) => [`--${name}${hint ? ` ${hint}` : ''}`, about])
  const width = Math.max(...rows.map(([left = '']) => left.length))
  return rows.map(([left = '', about]) => `  ${left.padEnd(width)}  ${about}`)
}
