/** Input of people and pages: arguments, requests to the console, cursors and filters, documents, shown payloads. */

import { createOperator } from '@concordat/cli'
import { asyncapiDiff } from '@concordat/cli/asyncapi'
import { createConsole } from '@concordat/console'
import type { SqlClient } from 'concordat/core'
import { hostileBytes, hostileJson, hostileJsonText, hostileMap, hostileText } from '../hostile.ts'
import { readCursor, runCommand, showBody, writeCursor } from '../inside.ts'
import type { Tape } from '../tape.ts'
import { check, isWrongArgument, saysInternal, target } from '../target.ts'

const COMMANDS = [
  'saga list',
  'saga show',
  'saga retry',
  'saga resolve',
  'saga skip',
  'dlq list',
  'dlq redrive',
  'dlq drop',
  'lag',
  'outbox stats',
  'outbox retry',
  'locks list',
  'locks release',
  'leader step-down',
  'cluster members',
  'audit',
  'undo settle',
  'doctor',
  'migrate status',
  'completion',
  'topologies',
]
const ARGUMENTS = [
  '--saga',
  'order',
  '--older-than',
  '2h',
  '--limit',
  '10',
  '--json',
  'order/o-1',
  '--reason',
  'why',
  '--yes',
  '--outcome',
  'completed',
  '--result',
  '{"a":1}',
  '--per-second=5',
  '--schema',
  'concordat',
  '--help',
  '--',
  '-x',
  '--no-json',
  '--__proto__=1',
  '--constructor',
  '--prefix',
  '--after',
]

export const commandLine = target({
  name: 'command-line',
  about: 'the arguments of `npx concordat`, without an address',
  input: (tape) => {
    const words = hostileText(tape, ...COMMANDS)
      .split(' ')
      .slice(0, 20)
    return [...words, ...Array.from({ length: tape.below(6) }, () => hostileText(tape, tape.pick(ARGUMENTS)))]
  },
  isAsync: true,
  async run(args) {
    // These commands write files and open ports; an address would be connected to.
    if (/^(?:init|console|asyncapi|topology)/.test(args[0] ?? '')) return
    if (args.some((arg) => /^--(?:postgres|kafka|rabbitmq|redis)/.test(arg))) return
    // Node's `parseArgs` takes a second for a group of 40 000 short options, at the cost of its caller alone.
    if (args.some((arg) => /^-[^-]/.test(arg) && arg.length > 200)) return
    const { stdin: input, stderr: output } = process
    const { stderr, code } = await runCommand(args, { input: { ...input, isTTY: false } as never, output, env: {} })
    check([0, 1, 2].includes(code), `the exit code is ${code}`)
    check(code === 0 || /^concordat: [^]*\n$/.test(stderr), `it says ${stderr.slice(0, 99)}`)
    check(!saysInternal(stderr), `it says ${stderr.slice(0, 200)}`)
  },
})

/** Rejects what a database rejects: text with a NUL, and invalid numbers. */
function refuse(values: readonly unknown[] | undefined): void {
  for (const value of values ?? []) {
    if (typeof value === 'string' && value.includes('\0'))
      throw Object.assign(new Error('invalid byte sequence'), { code: '22021' })
    if (Array.isArray(value)) refuse(value)
  }
}

const sql: SqlClient = {
  query: async (_: string, values?: readonly unknown[]) => {
    refuse(values)
    return { rows: [], rowCount: 0 } as never
  },
  transaction: (work) => work({ ...sql, afterCommit() {} } as never),
}
const page = createConsole({ operator: createOperator({ sql }), authorize: () => ({ user: 'ann', allow: true }) })
const VIEWS = [
  'sagas',
  'saga',
  'locks',
  'members',
  'audit',
  'places',
  'topology',
  'undo',
  'differences',
  'leaders',
  'me',
]
const QUERY = {
  saga: 'order',
  id: 'o-1',
  status: 'stuck',
  limit: '10',
  after: writeCursor(['1', 'order', 'o-1']),
  olderThanMs: '1000',
  order: 'oldest',
  idPrefix: 'o',
  before: '1795334400000',
  cluster: 'c',
  prefix: 'p',
  step: 'pay',
  service: 's',
  owner: 'i',
  code: 'c',
}
const DEEDS = ['saga', 'sagas', 'letters', 'look', 'outbox', 'lock', 'leader', 'undo', 'payload', 'session']
const FIELDS = {
  saga: 'order',
  id: 'o-1',
  do: 'retry',
  reason: 'why',
  outcome: 'completed',
  filter: { saga: 'order', olderThanMs: 5 },
  limit: 5,
  dryRun: true,
  channel: 'orders',
  group: 'g',
  partitions: 4,
  key: 'k',
  role: 'r',
  to: 'group',
  perSecond: 5,
  step: 'pay',
  result: { a: 1 },
  kind: 'saga',
  source: 's',
  destination: 'd',
}
let token = ''

async function asked(path: string, init: RequestInit = {}): Promise<Response> {
  return page(new Request(`http://localhost/${path}`, init))
}

function pathOf(tape: Tape): string {
  const query = hostileMap(tape, QUERY, (from, sample) => hostileText(from, sample ?? 'x'))
  const given = Object.entries(query).map(([name, value]) => [name.toWellFormed(), value.toWellFormed()])
  const name = tape.once(8) ? encodeURI(hostileText(tape, ...VIEWS).toWellFormed()) : tape.pick(VIEWS)
  return `api/${name}?${new URLSearchParams(given as [string, string][]).toString().slice(0, 8_000)}`
}

export const consoleLook = target({
  name: 'console-look',
  about: 'what a page asks the console for',
  input: pathOf,
  isAsync: true,
  longest: 160,
  async run(path) {
    const response = await asked(path)
    const said = await response.text()
    check(response.status !== 500, `500: ${said.slice(0, 99)}`)
    check(response.ok || /: expected /.test(said) || !saysInternal(said), said.slice(0, 200))
  },
})

export const consoleDeed = target({
  name: 'console-deed',
  about: 'what a page wants the console to do',
  input: (tape) => ({
    name: tape.once(12) ? hostileText(tape, 'saga', 'toString') : tape.pick(DEEDS),
    body: tape.once(12) ? hostileBytes(tape, JSON.stringify(FIELDS)) : Buffer.from(hostileJsonText(tape, FIELDS)),
  }),
  isAsync: true,
  async run({ name, body }) {
    token ||= ((await (await asked('api/me')).json()) as { readonly csrf: string }).csrf
    const headers = { 'content-type': 'application/json', 'sec-fetch-site': 'same-origin', 'x-concordat-csrf': token }
    const response = await asked(`api/${encodeURI(name.toWellFormed())}`, { method: 'POST', headers, body })
    const said = await response.text()
    // Without tables, nothing is found and little can be done.
    check(response.status !== 500 || /"code":"(?!console\.)/.test(said), `500: ${said.slice(0, 99)}`)
    check(response.ok || /: expected /.test(said) || !saysInternal(said), said.slice(0, 200))
  },
})

export const cursor = target({
  name: 'cursor',
  about: 'where a page ended, as it comes back',
  input: (tape) =>
    tape.once(2)
      ? hostileText(tape, QUERY.after)
      : Buffer.from(hostileJsonText(tape, ['1', 'a', 'b'])).toString('base64url'),
  run: (text) =>
    check(
      readCursor('after', text, 3).every((part) => !part.includes('\0')),
      'no database can be asked so',
    ),
  refuses: isWrongArgument,
})

export const shownPayload = target({
  name: 'shown-payload',
  about: 'a payload as the console shows it, without secrets',
  input: (tape) =>
    Buffer.from(
      hostileJsonText(tape, { id: 1, card: { number: '4111' }, password: 'hush', lines: [{ token: 'hush' }] }),
    ),
  run(body) {
    const shown = showBody(body, { kind: 'letter', path: 'body' }, undefined)
    JSON.stringify(shown)
    if (shown.as === 'json')
      check(!/"(?:password|token|card)":(?!"(?:\*\*\*|\.\.\.)")/.test(JSON.stringify(shown)), 'a secret is shown')
  },
})

const SCHEMA = {
  type: 'object',
  properties: {
    id: { type: 'string', minLength: 1 },
    lines: { type: 'array', items: { $ref: '#/components/schemas/line' } },
  },
  required: ['id'],
  anyOf: [{ type: 'object' }, { enum: [1, 'a'] }],
  additionalProperties: false,
}
const DOCUMENT = {
  asyncapi: '3.0.0',
  info: { title: 't', version: '1' },
  channels: {
    orders: {
      address: 'orders',
      messages: { m: { contentType: 'application/json', payload: SCHEMA, headers: { type: 'object' } } },
      'x-concordat': { partitions: 4, keyed: true, version: 1, reads: [1] },
    },
  },
  operations: {
    o: { action: 'send', channel: { $ref: '#/channels/orders' }, 'x-concordat': { service: 'shop', group: 'g' } },
  },
  components: { schemas: { line: { type: 'object', properties: { next: { $ref: '#/components/schemas/line' } } } } },
}

export const asyncapi = target({
  name: 'asyncapi-diff',
  about: 'two AsyncAPI documents of any tool',
  input: (tape) => [hostileJson(tape, DOCUMENT), documentOf(hostileJsonText(tape, DOCUMENT))] as const,
  run: ([before, after]) => void asyncapiDiff(before, after),
  refuses: isWrongArgument,
})

function documentOf(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return DOCUMENT
  }
}
