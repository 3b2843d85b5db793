import { readFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { sourceFiles } from './support/sources.ts'

const MOST_FIELDS = 20
const MOST_PARAMETERS = 4

interface Counted {
  readonly name: string
  readonly fields: number
  readonly parameters: number
}

/** The classes of a file as the formatter leaves it: members are indented by two, and a class ends in the first column. */
function classesIn(source: string): readonly Counted[] {
  const found: Counted[] = []
  for (const [, name = '', body = ''] of source.matchAll(
    /^(?:export )?(?:abstract )?class (\w+)[^\n]*\{\n([\s\S]*?)^\}/gm,
  )) {
    const fields = body.match(/^ {2}(?:(?:declare|override|readonly|static) )*#?\w+[?!]?(?::| =)/gm)?.length ?? 0
    found.push({ name, fields, parameters: parametersOf(body) })
  }
  return found
}

function parametersOf(body: string): number {
  const start = /^ {2}constructor\(/m.exec(body)
  if (start === null) return 0
  let depth = 1
  let count = 1
  let last = ''
  for (const [char] of body.slice(start.index + start[0].length).matchAll(/=>|\S/g)) {
    if (char === '=>') continue
    if ('({[<'.includes(char)) depth++
    if (')}]>'.includes(char)) depth--
    if (depth === 0) break
    if (char === ',' && depth === 1) count++
    last = char
  }
  if (last === '') return 0
  return last === ',' ? count - 1 : count
}

describe('counting', () => {
  it('finds fields of every form, and parameters over several lines', () => {
    const source = `export class Many<T extends { a: number }> extends Other<T> {
  static readonly a = 1
  readonly b: string
  #c: Map<string, (x: number, y: number) => void> = new Map()
  override readonly d = new Set<number>()
  e?: number

  constructor(
    one: Map<string, number>,
    two: (a: number, b: number) => void,
    { three, four }: { readonly three: number; readonly four: number },
  ) {
    super()
    this.#c.clear()
  }

  get f(): number {
    const g: number = 1
    return g
  }
}

class None {
  constructor() {}
}
`
    expect(classesIn(source)).toEqual([
      { name: 'Many', fields: 5, parameters: 3 },
      { name: 'None', fields: 0, parameters: 0 },
    ])
  })
})

const CLASSES = sourceFiles().flatMap((file) =>
  classesIn(readFileSync(file, 'utf8')).map((each) => ({ file, ...each })),
)

it(`no class has more than ${MOST_FIELDS} fields, and no constructor more than ${MOST_PARAMETERS} parameters: name them`, () => {
  expect(CLASSES.length).toBeGreaterThan(200)
  const over = CLASSES.filter(({ fields, parameters }) => fields > MOST_FIELDS || parameters > MOST_PARAMETERS)
  expect(over).toEqual([])
})
