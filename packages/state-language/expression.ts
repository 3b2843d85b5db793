/**
 * The subset of SpEL that machines may use: literals, `[x]`, `#root`, members, `==`-like comparisons, `and or not`,
 * arithmetic, `a ? b : c`, `a ?: b`, and the methods of `expression-operators.ts`. Parsed at import, never evaluated as code.
 */

import { isRecord, METHODS, member, OPERATORS, truth } from './expression-operators.ts'
import { type Token, tokensOf } from './tokens.ts'

/** Evaluates an expression on the root. Pure. @throws TypeError when the values do not fit */
export type Expression = (root: unknown) => unknown

/**
 * @throws SyntaxError naming the unsupported part and its position
 */
export function parseExpression(source: string): Expression {
  const tokens = tokensOf(source)
  if (tokens.length > MOST_TOKENS) throw new SyntaxError(`more than ${MOST_TOKENS} words: split the expression`)
  const parser = new Parser(tokens)
  return parser.whole()
}

/** Limit on tokens: parsing and evaluation are recursive. */
const MOST_TOKENS = 1_000
const MOST_LEVELS = 50

/** Operators from the lowest to the highest precedence. */
const LEVELS: readonly (readonly string[])[] = [
  ['||'],
  ['&&'],
  ['==', '!=', '<', '<=', '>', '>='],
  ['+', '-'],
  ['*', '/', '%'],
]
const LITERALS: ReadonlyMap<string, unknown> = new Map([
  ['true', true],
  ['false', false],
  ['null', null],
])

class Parser {
  readonly #tokens: readonly Token[]
  #next = 0
  #levels = 0

  constructor(tokens: readonly Token[]) {
    this.#tokens = tokens
  }

  whole(): Expression {
    const expression = this.#choice()
    if (this.#token().kind !== 'end') throw this.#unexpected()
    return expression
  }

  #choice(): Expression {
    return this.#deeper(() => this.#openChoice())
  }

  /**
   * @throws SyntaxError for expressions that are nested too deeply
   */
  #deeper(read: () => Expression): Expression {
    if (++this.#levels > MOST_LEVELS) throw new SyntaxError(`nested deeper than ${MOST_LEVELS} levels`)
    const expression = read()
    this.#levels--
    return expression
  }

  #openChoice(): Expression {
    const condition = this.#binary(0)
    if (this.#take('?:')) {
      const otherwise = this.#choice()
      return (root) => condition(root) ?? otherwise(root)
    }
    if (!this.#take('?')) return condition
    const yes = this.#choice()
    this.#require(':')
    const no = this.#choice()
    return (root) => (truth('?', condition(root)) ? yes(root) : no(root))
  }

  #binary(level: number): Expression {
    const signs = LEVELS[level]
    if (signs === undefined) return this.#unary()
    let left = this.#binary(level + 1)
    for (;;) {
      const { kind, text } = this.#token()
      if (kind !== 'sign' || !signs.includes(text)) return left
      this.#next++
      left = joined(text, left, this.#binary(level + 1))
    }
  }

  #unary(): Expression {
    if (this.#take('!')) {
      const value = this.#deeper(() => this.#unary())
      return (root) => !truth('!', value(root))
    }
    if (this.#take('-')) {
      const value = this.#deeper(() => this.#unary())
      return (root) => (OPERATORS['-'] as (a: unknown, b: unknown) => unknown)(0, value(root))
    }
    return this.#path(this.#primary())
  }

  #primary(): Expression {
    const { kind, text } = this.#token()
    if (kind === 'number') return this.#literal(Number(text))
    if (kind === 'text') return this.#literal(text)
    if (this.#take('(')) {
      const inner = this.#choice()
      this.#require(')')
      return inner
    }
    if (this.#isSign('[')) return this.#index((root) => root)
    if (kind !== 'name') throw this.#unexpected()
    this.#next++
    if (LITERALS.has(text)) return () => LITERALS.get(text)
    if (text === '#root' || text === '#this') return (root) => root
    if (text.startsWith('#')) throw new SyntaxError(`there is no variable "${text}", only #root`)
    return this.#memberOrCall((root) => root, text, false)
  }

  #path(first: Expression): Expression {
    let on = first
    for (;;) {
      if (this.#isSign('[')) on = this.#index(on)
      else if (this.#take('.')) on = this.#memberOrCall(on, this.#name(), false)
      else if (this.#take('?.')) on = this.#memberOrCall(on, this.#name(), true)
      else return on
    }
  }

  /** `[name]`, `['name']`, `[0]`, or the value of an expression. */
  #index(on: Expression): Expression {
    this.#require('[')
    const { kind, text } = this.#token()
    const after = this.#tokens[this.#next + 1]
    if (kind === 'name' && !text.startsWith('#') && after?.text === ']') {
      this.#next += 2
      return (root) => member(on(root), text, `"${text}"`)
    }
    const key = this.#choice()
    this.#require(']')
    return (root) => member(on(root), key(root))
  }

  #memberOrCall(on: Expression, name: string, isSafe: boolean): Expression {
    const read = this.#take('(') ? this.#call(name) : (value: unknown) => member(value, name, `"${name}"`)
    return (root) => {
      const value = on(root)
      return isSafe && (value === null || value === undefined) ? null : read(value, root)
    }
  }

  #call(name: string): (on: unknown, root: unknown) => unknown {
    const method = Object.hasOwn(METHODS, name) ? METHODS[name] : undefined
    if (method === undefined)
      throw new SyntaxError(`there is no method "${name}", only ${Object.keys(METHODS).join(', ')}`)
    const given: Expression[] = []
    while (!this.#take(')')) {
      if (given.length > 0) this.#require(',')
      given.push(this.#choice())
    }
    if (given.length !== method.takes)
      throw new SyntaxError(
        `${name}() takes ${method.takes} ${method.takes === 1 ? 'value' : 'values'}, got ${given.length}`,
      )
    return (on, root) =>
      method.run(
        on,
        given.map((value) => value(root)),
      )
  }

  #literal(value: unknown): Expression {
    this.#next++
    return () => value
  }

  #name(): string {
    const { kind, text } = this.#token()
    if (kind !== 'name' || text.startsWith('#')) throw this.#unexpected()
    this.#next++
    return text
  }

  #token(): Token {
    return this.#tokens[this.#next] as Token
  }

  #isSign(text: string): boolean {
    const token = this.#token()
    return token.kind === 'sign' && token.text === text
  }

  #take(text: string): boolean {
    if (!this.#isSign(text)) return false
    this.#next++
    return true
  }

  #require(text: string): void {
    if (!this.#take(text)) throw this.#unexpected()
  }

  #unexpected(): SyntaxError {
    const { text, at } = this.#token()
    return new SyntaxError(`unexpected "${text}" at position ${at + 1}`)
  }
}

function joined(sign: string, left: Expression, right: Expression): Expression {
  if (sign === '&&') return (root) => truth('and', left(root)) && truth('and', right(root))
  if (sign === '||') return (root) => truth('or', left(root)) || truth('or', right(root))
  const run = OPERATORS[sign] as (a: unknown, b: unknown) => unknown
  return (root) => run(left(root), right(root))
}

/** A value of a machine: texts that begin with `$` are expressions, also in lists and objects. */
export type Template = (root: unknown, sequence: () => string) => unknown

const SPEL = /^\$\.(.+)$/s
const SEQUENCE = /^\$Sequence(?:\.|\{)(\w+)(?:\|\w+)?\}?$/

/** @throws SyntaxError */
export function parseTemplate(value: unknown): Template {
  if (typeof value === 'string' && value.startsWith('$')) {
    if (SEQUENCE.test(value)) return (_, sequence) => sequence()
    const source = SPEL.exec(value)?.[1]
    if (source === undefined)
      throw new SyntaxError(`"${value}" is none of $.expression and $Sequence.BUSINESS_KEY|SIMPLE`)
    return parseExpression(source)
  }
  if (Array.isArray(value)) {
    const parts = value.map(parseTemplate)
    return (root, sequence) => parts.map((part) => part(root, sequence) ?? null)
  }
  if (!isRecord(value)) return () => value
  const parts = Object.entries(value).map(([name, part]) => [name, parseTemplate(part)] as const)
  return (root, sequence) =>
    Object.fromEntries(
      parts.flatMap(([name, part]) => {
        const known = part(root, sequence)
        return known === null || known === undefined ? [] : [[name, known]]
      }),
    )
}
