/** `asyncapi` and `asyncapi diff`: the document of the declared services, and the effect of a change on readers. */

import { readFile, writeFile } from 'node:fs/promises'
import { toError } from 'concordat/extension'
import { asyncapi as write } from '../asyncapi/asyncapi.ts'
import { asyncapiDiff } from '../asyncapi/diff.ts'
import type { AsyncapiDocument } from '../asyncapi/document-types.ts'
import { counted } from '../words.ts'
import { type Command, UsageError } from './command.ts'
import { table } from './output.ts'
import { MODULE, packageOf, readDeclarations } from './read-declarations.ts'
import { none, several, text } from './values.ts'

const asyncapi: Command = {
  name: 'asyncapi',
  summary: 'prints the AsyncAPI 3 document of the services that a module exports, and runs nothing of them',
  takes: `[${MODULE}]`,
  options: {
    out: { type: 'string', hint: 'FILE', about: 'write it there' },
    title: { type: 'string', hint: 'TEXT', about: "the document's title (default: the package's name)" },
    'api-version': { type: 'string', hint: 'TEXT', about: "the document's version (default: the package's)" },
  },
  examples: ['npx concordat asyncapi --out asyncapi.json', 'npx concordat asyncapi concordat.config.ts --title Shop'],
  async run({ values, positionals }) {
    const [path, ...rest] = positionals
    none(rest)
    const document = await documentOf(path, { title: text(values, 'title'), version: text(values, 'api-version') })
    const said = `${JSON.stringify(document, undefined, 2)}\n`
    const out = text(values, 'out')
    if (out === undefined) return { text: said, json: document }
    await writeFile(out, said).catch((error: unknown) => {
      throw new UsageError(`--out: ${toError(error).message}`)
    })
    const counts = `${count(document.channels, 'channel')}, ${count(document.operations, 'operation')}`
    return { text: `${out}: ${counts}\n`, json: document }
  },
}

const diff: Command = {
  name: 'asyncapi diff',
  summary: 'tells what a change means to readers; exit code 1 when it breaks some',
  takes: 'OLD NEW',
  options: {},
  examples: [
    'npx concordat asyncapi diff asyncapi.json concordat.config.ts',
    'npx concordat asyncapi diff asyncapi.json concordat.config.ts --json',
  ],
  async run(invocation) {
    const [old, now] = several(invocation, ['OLD', 'NEW'] as const)
    const found = asyncapiDiff(await readEither(old), await readEither(now))
    const rows = found.changes.map(({ breaks, channel, kind, path, text: what }) => [
      breaks,
      channel,
      path === '' ? kind : `${kind} ${path}`,
      what,
    ])
    const last = found.breaks ? 'It breaks readers.' : 'It breaks no reader.'
    const shown = rows.length === 0 ? '' : `${table(['BREAKS', 'CHANNEL', 'WHERE', 'WHAT'], rows)}\n`
    return { text: `${shown}${last}\n`, json: found, code: found.breaks ? 1 : 0 }
  },
}

export const ASYNCAPI_COMMANDS: readonly Command[] = [asyncapi, diff]

interface Head {
  readonly title?: string | undefined
  readonly version?: string | undefined
}

async function documentOf(given: string | undefined, head: Head): Promise<AsyncapiDocument> {
  const { path, services, document } = await readDeclarations(given)
  const { name, version } = await packageOf(path)
  const own = document.info
  return write({
    ...document,
    services,
    info: {
      ...own,
      title: head.title ?? own?.title ?? name,
      version: head.version ?? own?.version ?? version,
    },
  })
}

/** A document, or a module that exports services. @throws UsageError */
async function readEither(path: string): Promise<unknown> {
  if (/\.[cm]?[jt]s$/.test(path)) return documentOf(path, {})
  try {
    return JSON.parse(await readFile(path, 'utf8')) as unknown
  } catch (error) {
    throw new UsageError(`${path}: ${toError(error).message}. Expected a document in JSON, or a module`)
  }
}

function count(record: Readonly<Record<string, unknown>>, what: string): string {
  return counted(Object.keys(record).length, what)
}
