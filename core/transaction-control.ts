/**
 * Finds statements that begin or end their transaction, or leave something on their connection that outlives it. Handlers get a
 * transaction that we begin and commit: if they ended it, their effect would be lost, or our later writes would be outside of it.
 */
import { keptByText } from './kept-by-text.ts'

/** Most statements contain none of these words. */
const WORDS = /\b(?:begin|start|commit|end|abort|rollback|prepare)\b/i
/** Parts of a statement without keywords: comments, which may be nested, and quoted text. */
const WORDLESS =
  /--[^\n]*|\/\*|\be'(?:[^'\\]|\\[\s\S]|'')*'|'(?:[^']|'')*'|"(?:[^"]|"")*"|(?<![\w$])\$([a-z_]\w*)?\$[\s\S]*?\$\1\$/gi
const COMMENT_EDGES = /\/\*|\*\//g
const ENDS =
  /^(?:begin\b(?!\s+atomic\b)|start\s+transaction\b|commit\b|end\b|abort\b|rollback\b(?!\s+(?:work\s+|transaction\s+)?to\b)|prepare\s+transaction\b)/i
const CONTROL_IN_BODY = /^end\b/i

/** True for BEGIN, COMMIT, ROLLBACK, PREPARE TRANSACTION and similar statements, also as one of several; not for savepoints. */
export function controlsTransaction(text: string): boolean {
  return typeof text === 'string' && WORDS.test(text) && hasControl(text)
}

const hasControl = keptByText((text) => {
  const words = wordsOf(text)
  // The body of a function in standard SQL ends with END.
  const hasBody = /\bbegin\s+atomic\b/i.test(words)
  return words
    .split(';')
    .map((statement) => statement.trim())
    .some((statement) => ENDS.test(statement) && !(hasBody && CONTROL_IN_BODY.test(statement)))
})

/** Most statements contain none of these words, except the SET of an UPDATE. */
const SESSION_WORDS = /\b(?:set|reset|discard|load|do|call|prepare|listen|set_config|pg_(?:try_)?advisory_lock\w*)\b/i
/**
 * `SET LOCAL` and similar statements end with the transaction. Settings made by a block of code or a procedure are not visible
 * here.
 */
const OUTLIVES =
  /^(?:set\b(?!\s+(?:local|transaction|constraints)\b)|(?:reset|discard|load|do|call|listen)\b|prepare\b(?!\s+transaction\b))/i
const CALLS_THAT_OUTLIVE = /\bpg_(?:try_)?advisory_lock(?:_shared)?\b|\bset_config\b(?!\s*\([^()]*,\s*true\s*\))/i

/**
 * True for `SET`, `set_config(..., false)`, `pg_advisory_lock`, `PREPARE` and similar statements, whose effect the next user of
 * the connection would inherit.
 */
export function outlivesTransaction(text: string): boolean {
  if (typeof text !== 'string' || !SESSION_WORDS.test(text)) return false
  const words = wordsOf(text)
  return CALLS_THAT_OUTLIVE.test(words) || words.split(';').some((statement) => OUTLIVES.test(statement.trim()))
}

function wordsOf(text: string): string {
  let words = ''
  let from = 0
  const wordless = new RegExp(WORDLESS)
  for (let found = wordless.exec(text); found !== null; found = wordless.exec(text)) {
    const [token] = found
    const isComment = token === '/*' || token.startsWith('--')
    // Quoted text is not blank: no statement starts after it.
    words += `${text.slice(from, found.index)}${isComment ? ' ' : ' quoted '}`
    from = token === '/*' ? endOfComment(text, found.index) : found.index + token.length
    wordless.lastIndex = from
  }
  return words + text.slice(from)
}

function endOfComment(text: string, at: number): number {
  const edges = new RegExp(COMMENT_EDGES)
  edges.lastIndex = at
  let depth = 0
  for (let edge = edges.exec(text); edge !== null; edge = edges.exec(text)) {
    depth += edge[0] === '/*' ? 1 : -1
    if (depth === 0) return edge.index + 2
  }
  return text.length
}
