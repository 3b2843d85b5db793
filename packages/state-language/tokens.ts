/** Tokens of an expression. */

export interface Token {
  readonly kind: 'number' | 'text' | 'name' | 'sign' | 'end'
  readonly text: string
  /** Start position, from 0. */
  readonly at: number
}

const SPACE = /\s+/y
const NUMBER = /\d+(?:\.\d+)?(?:[eE][+-]?\d+)?/y
const TEXT = /'(?:[^']|'')*'|"(?:[^"]|"")*"/y
const NAME = /#?[A-Za-z_$][\w$]*/y
const SIGN = /==|!=|<=|>=|&&|\|\||\?\.|\?:|[<>!?:()[\].,+\-*/%]/y

/** Words that mean the same as a sign. */
const WORDS: ReadonlyMap<string, string> = new Map([
  ['and', '&&'],
  ['or', '||'],
  ['not', '!'],
  ['eq', '=='],
  ['ne', '!='],
  ['lt', '<'],
  ['gt', '>'],
  ['le', '<='],
  ['ge', '>='],
])

/**
 * @throws SyntaxError for a character that the subset does not have
 */
export function tokensOf(source: string): readonly Token[] {
  const tokens: Token[] = []
  let at = 0
  const take = (pattern: RegExp): string | undefined => {
    pattern.lastIndex = at
    const found = pattern.exec(source)?.[0]
    if (found !== undefined) at += found.length
    return found
  }
  while (at < source.length) {
    if (take(SPACE) !== undefined) continue
    const begin = at
    const add = (kind: Token['kind'], text: string | undefined): boolean => {
      if (text !== undefined) tokens.push({ kind, text, at: begin })
      return text !== undefined
    }
    if (add('number', take(NUMBER))) continue
    const text = take(TEXT)
    if (text !== undefined && add('text', unquoted(text))) continue
    const name = take(NAME)
    if (name !== undefined) {
      const sign = WORDS.get(name.toLowerCase())
      add(sign === undefined ? 'name' : 'sign', sign ?? name)
      continue
    }
    if (add('sign', take(SIGN))) continue
    throw new SyntaxError(`unexpected "${source[at]}" at position ${at + 1}`)
  }
  return [...tokens, { kind: 'end', text: 'the end', at }]
}

/** A quote inside a text is written twice. */
function unquoted(text: string): string {
  const quote = text.slice(0, 1)
  return text.slice(1, -1).replaceAll(quote + quote, quote)
}
