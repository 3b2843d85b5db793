#!/usr/bin/env node
/** `npx concordat`: one line per mistake and exit code 2, help with exit code 0. */
import { parseArgs } from 'node:util'
import { printGrants, printMigrations } from '../migrations.ts'

const HELP = `Usage: concordat <command> [options]

Commands:
  migrate print    prints the SQL of all tables, for a migration tool or a review
  migrate grants   prints the GRANTs of a role that runs services but may create nothing

Options:
  --schema NAME        the schema of the tables (default: concordat)
  --part NAME          migrate print: this part only; may be given several times
  --above PART=N       migrate print: leaves out versions up to N of a part; may be given several times
  --partitions N       migrate print: partitions of the outbox (default: 4)
  --service NAME       migrate print: the service that the outbox belongs to (default: the first that migrates)
  --role NAME          migrate grants: the role
  --help               prints this

Examples:
  npx concordat migrate print --partitions 8 > migrations/001_concordat.sql
  npx concordat migrate print --part saga --above saga=4
  npx concordat migrate grants --role shop
`

class UsageError extends Error {}

function run(args: readonly string[]): string {
  const { values, positionals } = parseArgs({
    args: [...args],
    allowPositionals: true,
    options: {
      schema: { type: 'string' },
      part: { type: 'string', multiple: true },
      above: { type: 'string', multiple: true },
      partitions: { type: 'string' },
      service: { type: 'string' },
      role: { type: 'string' },
      help: { type: 'boolean', short: 'h' },
    },
  })
  const command = positionals.join(' ')
  if (values.help === true || command === '') return HELP
  switch (command) {
    case 'migrate print':
      return printMigrations({
        schema: values.schema,
        parts: values.part,
        above: Object.fromEntries((values.above ?? []).map(readAbove)),
        service: values.service,
        partitions: values.partitions === undefined ? undefined : readNumber('--partitions', values.partitions),
      })
    case 'migrate grants':
      if (values.role === undefined) throw new UsageError('migrate grants needs --role NAME')
      return printGrants({ schema: values.schema, role: values.role })
    default:
      throw new UsageError(`unknown command "${command}": expected "migrate print" or "migrate grants"`)
  }
}

function readAbove(text: string): readonly [string, number] {
  const [part = '', version = ''] = text.split('=')
  return [part, readNumber('--above', version)]
}

function readNumber(option: string, text: string): number {
  if (!/^\d+$/.test(text)) throw new UsageError(`${option}: expected a whole number, got "${text}"`)
  return Number(text)
}

try {
  process.stdout.write(run(process.argv.slice(2)))
} catch (error) {
  process.stderr.write(`concordat: ${error instanceof Error ? error.message : String(error)}. Try concordat --help\n`)
  process.exitCode = 2
}
