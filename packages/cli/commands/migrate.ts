/** `migrate`: prints or applies the tables, and shows their state. */
import { DEFAULT_SCHEMA } from 'concordat/extension'
import { printGrants, printMigrations } from 'concordat/operator'
import type { MigrationState } from '../engine-types.ts'
import { listed } from '../find-table-schemas.ts'
import { ACTION_OPTIONS, type Command, DATABASE_OPTIONS, type OptionSpec, UsageError } from './command.ts'
import { table } from './output.ts'
import { none, note, readWhole, text, texts, whole } from './values.ts'

/** The part of the audit of operators. */
const OPERATOR = 'operator'
const PART: OptionSpec = {
  type: 'string',
  multiple: true,
  hint: 'NAME',
  about: 'this part only; may be given several times',
}
const PARTITIONS: OptionSpec = { type: 'string', hint: 'N', about: 'partitions of the outbox (default: 4)' }
const SERVICE: OptionSpec = {
  type: 'string',
  hint: 'NAME',
  about: 'the service that the outbox belongs to (default: the first that migrates)',
}

const print: Command = {
  name: 'migrate print',
  summary: 'prints the SQL of all tables, for a migration tool or a review',
  options: {
    part: PART,
    above: {
      type: 'string',
      multiple: true,
      hint: 'PART=N',
      about: 'leaves out versions up to N of a part; may be given several times',
    },
    partitions: PARTITIONS,
    service: SERVICE,
  },
  examples: [
    'npx concordat migrate print --partitions 8 > 001_concordat.sql',
    'npx concordat migrate print --part saga --above saga=4',
  ],
  async run({ values, positionals, schema }) {
    none(positionals)
    const sql = printMigrations({
      schema,
      parts: texts(values, 'part'),
      above: Object.fromEntries((texts(values, 'above') ?? []).map(readAbove)),
      service: text(values, 'service'),
      partitions: whole(values, 'partitions'),
    })
    return { text: sql, json: { sql } }
  },
}

const grants: Command = {
  name: 'migrate grants',
  summary: 'prints the GRANTs of a role that runs services but may create nothing',
  options: { role: { type: 'string', hint: 'NAME', about: 'the role (required)' } },
  examples: ['npx concordat migrate grants --role shop'],
  async run({ values, positionals, schema }) {
    none(positionals)
    const role = text(values, 'role')
    if (role === undefined) throw new UsageError('migrate grants needs --role NAME')
    const sql = printGrants({ schema, role })
    return { text: sql, json: { sql } }
  },
}

const status: Command = {
  name: 'migrate status',
  summary:
    'shows the versions of the tables against what this release needs; exit code 1 when some are to be migrated, or none is there',
  options: DATABASE_OPTIONS,
  examples: ['npx concordat migrate status', 'npx concordat migrate status --json'],
  async run({ positionals, operator, schema = DEFAULT_SCHEMA, schemas }) {
    none(positionals)
    const parts = await (await operator()).migrations()
    const json = { parts }
    if (parts.every(({ state }) => state === 'absent'))
      return { text: `${placeOf(schema, await schemas())}\n\n${statusTable(parts)}\n`, json, code: 1 }
    return { text: `${statusTable(parts)}\n`, json, code: parts.some(isWrong) ? 1 : 0 }
  },
}

const apply: Command = {
  name: 'migrate apply',
  summary: 'makes or upgrades the tables: of the parts that are there and of the audit, or of all where none is',
  options: { part: PART, partitions: PARTITIONS, service: SERVICE, ...DATABASE_OPTIONS, ...ACTION_OPTIONS },
  examples: [
    'npx concordat migrate apply --reason "release 12" --yes',
    'npx concordat migrate apply --part saga --reason "release 12" --yes',
  ],
  async run(invocation) {
    const { values, positionals, operator, confirm } = invocation
    none(positionals)
    const who = note(invocation)
    const parts = texts(values, 'part')
    const before = await (await operator()).migrations()
    const place = placeOf(invocation.schema ?? DEFAULT_SCHEMA, await invocation.schemas())
    const plan = `${place}\n\n${statusTable(before)}\n\n${planOf(parts ?? partsThere(before))}`
    if (!(await confirm(plan, 'Apply?'))) return { text: 'Nothing was changed.\n', json: { parts: before }, code: 1 }
    const after = await (await operator()).migrate({
      ...who,
      parts,
      partitions: whole(values, 'partitions'),
      service: text(values, 'service'),
    })
    return {
      text: `${place}\n\n${statusTable(after)}\n${parts === undefined ? absentLine(after) : ''}`,
      json: { parts: after },
    }
  },
}

/** The parts that `operator.migrate()` migrates by default. */
function partsThere(states: readonly MigrationState[]): readonly string[] {
  const there = states.filter(({ part, state }) => state !== 'absent' || part === OPERATOR)
  const all = states.every(({ state }) => state === 'absent') ? states : there
  return all.filter(({ state }) => state === 'absent' || state === 'behind').map(({ part }) => part)
}

function planOf(parts: readonly string[]): string {
  return parts.length === 0 ? 'Nothing of them is to be migrated.' : `${parts.join(', ')} will be migrated.`
}

function absentLine(states: readonly MigrationState[]): string {
  const absent = states.filter(({ state }) => state === 'absent').map(({ part }) => part)
  if (absent.length === 0) return ''
  return `\nNot made, since the schema has tables of other parts: ${absent.join(', ')}. To make one that a service uses: npx concordat migrate apply --part NAME\n`
}

/** A mistyped schema would be created like any other. */
function placeOf(schema: string, schemas: readonly string[]): string {
  if (schemas.includes(schema)) return `Schema "${schema}".`
  if (schemas.length === 0) return `Schema "${schema}", which has no tables of Concordat so far.`
  const others = listed(schemas.map((name) => `"${name}"`))
  return `Schema "${schema}", which had no tables of Concordat. They are in ${others}: choose one of these with --schema, unless a new one is meant.`
}

export const MIGRATE_COMMANDS: readonly Command[] = [print, grants, status, apply]

function isWrong({ state }: MigrationState): boolean {
  return state === 'behind' || state === 'incompatible'
}

function statusTable(parts: readonly MigrationState[]): string {
  return table(
    ['PART', 'VERSION', 'LATEST', 'STATE'],
    parts.map(({ part, version, latest, state }) => [part, String(version), String(latest), state]),
  )
}

function readAbove(given: string): readonly [string, number] {
  const [part = '', version = ''] = given.split('=')
  return [part, readWhole('--above', version)]
}
