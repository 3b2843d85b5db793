/**
 * Makes a statement depend on a condition: if it is false, the statement changes nothing, calls no function and returns no row.
 * It remains one statement, so nothing can come between the condition and the work.
 *
 * The condition must not be volatile. PostgreSQL then checks it once, before it runs any part of the plan (a one-time filter).
 */
import { keptByText } from './kept-by-text.ts'

/** A statement in pieces: the condition goes between them. */
export type ConditionalStatement = readonly string[]

/** @returns `undefined` for forms that take no condition: several rows of VALUES, MERGE, settings, DDL, several statements */
export function conditional(text: string): ConditionalStatement | undefined {
  const pieces = keptPieces(text)
  return pieces === NONE ? undefined : pieces
}

const NONE: ConditionalStatement = []
const keptPieces = keptByText((text) => piecesOf(text) ?? NONE)

interface Token {
  /** A word in lower case, or a single character. */
  readonly word: string
  readonly at: number
  readonly end: number
  readonly depth: number
}

/** Replaces the text from `at` to `end`. */
interface Edit {
  readonly at: number
  readonly end: number
  readonly text: string
}

/** Placeholder of the condition. PostgreSQL accepts no NUL in a text, so no statement contains one. */
const CONDITION = '\0'

/** Comments and quoted text, which contain no words of the statement; words; separators. `$1` is none of these. */
const TOKENS =
  /--[^\n]*|\/\*[\s\S]*?\*\/|e'(?:[^'\\]|\\[\s\S]|'')*'|'(?:[^']|'')*'|"(?:[^"]|"")*"|\$([a-z_]\w*)?\$[\s\S]*?\$\1\$|[a-z_][\w$]*|[(),;]/gi

function piecesOf(text: string): ConditionalStatement | undefined {
  if (text.includes(CONDITION)) return undefined
  const tokens = tokensOf(text)
  if (tokens.some(({ word }) => word === ';')) return undefined
  const edits = editsOf(tokens, text.length, true)
  if (edits === undefined) return undefined
  let edited = ''
  let from = 0
  for (const edit of edits.toSorted((a, b) => a.at - b.at)) {
    edited += text.slice(from, edit.at) + edit.text
    from = edit.end
  }
  return (edited + text.slice(from)).split(CONDITION)
}

function tokensOf(text: string): readonly Token[] {
  const tokens: Token[] = []
  let depth = 0
  for (const found of text.matchAll(TOKENS)) {
    const [raw] = found
    if (!/^(?:[a-z_][\w$]*|[(),;])$/i.test(raw)) continue
    if (raw === ')') depth--
    tokens.push({ word: raw.toLowerCase(), at: found.index, end: found.index + raw.length, depth })
    if (raw === '(') depth++
  }
  return tokens
}

/** @param isWhole true if nothing surrounds the statement, so that it ends at the end of the text */
function editsOf(tokens: readonly Token[], end: number, isWhole: boolean): readonly Edit[] | undefined {
  const [first] = tokens
  switch (first?.word) {
    case 'select':
      return isWhole ? wrapped(first, end) : withCondition(tokens, end)
    case 'insert':
      return ofInsert(tokens, end)
    case 'update':
    case 'delete':
      return withCondition(tokens, end)
    case 'with':
      return ofWith(tokens, end, isWhole)
    default:
      return undefined
  }
}

function wrapped(first: Token, end: number): readonly Edit[] {
  return [
    { at: first.at, end: first.at, text: 'SELECT * FROM (' },
    { at: end, end, text: `\n) AS concordat_joined WHERE ${CONDITION}` },
  ]
}

const STATEMENTS: ReadonlySet<string> = new Set(['select', 'insert', 'update', 'delete', 'merge', 'values'])

/** Every writing part gets the condition, and so does the statement that reads them. */
function ofWith(tokens: readonly Token[], end: number, isWhole: boolean): readonly Edit[] | undefined {
  const [first] = tokens as readonly [Token, ...Token[]]
  const own = tokens.filter(({ depth }) => depth === first.depth)
  const main = own.find(({ word }) => STATEMENTS.has(word))
  if (main === undefined) return undefined
  const edits: Edit[] = []
  for (const [index, open] of tokens.entries()) {
    if (open === main) break
    if (open.word !== '(' || open.depth !== first.depth || !/^(?:as|materialized)$/.test(tokens[index - 1]?.word ?? ''))
      continue
    const close = tokens.findIndex((token, at) => at > index && token.word === ')' && token.depth === open.depth)
    const body = tokens.slice(index + 1, close)
    if (body[0]?.word === 'select' || body[0]?.word === 'values') continue
    const part = editsOf(body, tokens[close]?.at ?? end, false)
    if (part === undefined) return undefined
    edits.push(...part)
  }
  if (edits.length === 0 && main.word === 'select' && isWhole) return wrapped(first, end)
  const rest = editsOf(tokens.slice(tokens.indexOf(main)), end, false)
  return rest && [...edits, ...rest]
}

function ofInsert(tokens: readonly Token[], end: number): readonly Edit[] | undefined {
  const depth = tokens[0]?.depth
  const source = tokens.findIndex((token) => token.depth === depth && SOURCES.has(token.word))
  const rows = tokens[source]
  if (rows?.word === 'select') return withCondition(tokens.slice(source), end)
  const open = tokens[source + 1]
  if (rows?.word !== 'values' || open?.word !== '(') return undefined
  const close = tokens.findIndex((token, at) => at > source && token.word === ')' && token.depth === open.depth)
  const closing = tokens[close]
  if (closing === undefined || tokens[close + 1]?.word === ',') return undefined
  if (tokens.slice(source, close).some(({ word }) => word === 'default')) return undefined
  return [
    { at: rows.at, end: open.end, text: 'SELECT ' },
    { at: closing.at, end: closing.end, text: `\n WHERE ${CONDITION} ` },
  ]
}

const SOURCES: ReadonlySet<string> = new Set(['values', 'select', 'default', 'with', 'table'])
const SETS: ReadonlySet<string> = new Set(['union', 'intersect', 'except'])
const BEHIND: ReadonlySet<string> = new Set([
  'group',
  'having',
  'window',
  'order',
  'limit',
  'offset',
  'fetch',
  'for',
  'returning',
])

/** Adds the condition to the WHERE of a statement, or adds a WHERE. */
function withCondition(tokens: readonly Token[], end: number): readonly Edit[] | undefined {
  const depth = tokens[0]?.depth
  const own = tokens.filter((token) => token.depth === depth)
  if (own.some(({ word }) => SETS.has(word))) return undefined
  const behind = own.find(({ word }, at) => BEHIND.has(word) || (word === 'on' && own[at + 1]?.word === 'conflict'))
  const stop = behind?.at ?? end
  const where = own.find(({ word, at }) => word === 'where' && at < stop)
  if (where === undefined) return [{ at: stop, end: stop, text: `\n WHERE ${CONDITION} ` }]
  return [
    { at: where.end, end: where.end, text: ` ${CONDITION} AND (` },
    { at: stop, end: stop, text: '\n) ' },
  ]
}
