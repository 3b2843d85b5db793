/** Formats a warning or an error as a line on stderr, for people. */
import { ConcordatError, said } from './errors.ts'
import { printable, withoutSecrets } from './printable.ts'
import { fieldOf, readableInLog } from './thrown-values.ts'

/** Longer lines are truncated: an error may contain a page of text. */
const MAX_LINE = 2_000
const MAX_ERROR = 1_000
const MAX_VALUE = 300
const MAX_CAUSES = 3

/** Without passwords in addresses, terminal control characters, and line breaks. */
export function stderrLine(
  at: Date,
  level: string,
  fields: Readonly<Record<string, unknown>>,
  message: string,
): string {
  const { err, ...rest } = fields
  const given = Object.entries(rest).flatMap(([name, value]) =>
    value === undefined ? [] : [`${name}=${textOf(value)}`],
  )
  const error = err === undefined ? [] : [bounded(errorText(err), MAX_ERROR)]
  const parts = [message, ...(given.length > 0 ? [given.join(' ')] : []), ...error]
  return printable(bounded(`${at.toISOString()} ${level} concordat: ${parts.join(' | ')}`, MAX_LINE))
}

function textOf(value: unknown): string {
  if (['number', 'bigint', 'boolean'].includes(typeof value) || value === null) return String(value)
  if (value instanceof Error) return JSON.stringify(bounded(errorText(value)))
  const text = typeof value === 'string' ? value : asJson(value)
  return bounded(/^[\w.:/@+-]+$/.test(text) ? text : JSON.stringify(text))
}

/** Codes that the page of errors explains; errors of users have their own codes. */
const EXPLAINED =
  /^(?:binder|bus|cluster|core|election|embedded|locks|operate|outbox|pipeline|saga|service|tokens)\.[a-z_.]+$/
const PAGE = 'node_modules/concordat/docs/reference/errors.md'

/** Only the message of an error: other fields of a driver's error may contain a command with its password. */
function errorText(thrown: unknown): string {
  const error = readableInLog(thrown)
  const texts: string[] = []
  const told = new Set<unknown>()
  for (let each = error; each !== undefined && texts.length < MAX_CAUSES && !told.has(each); each = causeOf(each)) {
    told.add(each)
    const text =
      each instanceof Error
        ? `${said(each, 'name')}${codeOf(each)}: ${said(each, 'message')}`
        : typeof each === 'string'
          ? each
          : typeof each
    const message = each instanceof Error ? said(each, 'message') : text
    if (!texts.some((said) => said.includes(message))) texts.push(text)
  }
  const where = placeOf(error)
  const code = error instanceof ConcordatError ? error.code : ''
  const help = EXPLAINED.test(code) ? ` (see ${code} in ${PAGE})` : ''
  return `${texts.join('; caused by ')}${help}${where === undefined ? '' : ` (${where})`}`
}

/** Codes of drivers are in their messages if they matter. */
function codeOf(error: Error): string {
  return error instanceof ConcordatError ? ` [${error.code}]` : ''
}

const causeOf = (error: unknown): unknown => (error instanceof Error ? fieldOf(error, 'cause') : undefined)

/**
 * The place of a mistake: the first frame that belongs neither to Node nor to a package. Errors with a code were thrown on
 * purpose, and contain the remedy.
 */
function placeOf(error: unknown): string | undefined {
  const stack = error instanceof Error && !('code' in error) ? fieldOf(error, 'stack') : undefined
  if (typeof stack !== 'string') return undefined
  const frames = stack.split('\n').filter((line) => /^\s+at /.test(line))
  return frames.find((line) => !/node:|node_modules|<anonymous>/.test(line))?.trim()
}

function asJson(value: unknown): string {
  try {
    return (
      JSON.stringify(value, (_, inner: unknown) => (typeof inner === 'bigint' ? String(inner) : inner)) ?? typeof value
    )
  } catch {
    return typeof value
  }
}

/** Hides passwords before truncation: half an address would pass for other text. */
function bounded(text: string, length: number = MAX_VALUE): string {
  const safe = withoutSecrets(text)
  return safe.length <= length ? safe : `${safe.slice(0, length)}...`
}
