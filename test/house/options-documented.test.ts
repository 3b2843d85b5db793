import { globSync, readFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'

/** Interfaces of options that users write: all that a file of the binder or the test kit exports under such a name. */
const OPTIONS = /^export interface ((?!Resolved)\w*Options|BatchLimits)\b[^{]*\{\n([\s\S]*?)\n\}/gm
const OPTION = /^ {2}readonly (\w+)\??:/gm
/** Not written by users: what `kafkaTransport` makes of its options. */
const RESOLVED = new Set(['KafkaOptions'])

const pages = ['README.md', ...globSync('docs/*.md')].map((page) => readFileSync(page, 'utf8')).join('\n')
const inCode = new Set(Array.from(pages.matchAll(/`[^`\n]+`/g), ([code]) => code.match(/\w+/g) ?? []).flat())
const inSnippets = new Set(
  Array.from(pages.matchAll(/```ts\n[\s\S]*?```/g), ([code]) => code.match(/\w+/g) ?? []).flat(),
)

const declared = globSync('{binder,testing,core/opentelemetry}/**/*.ts').flatMap((file) =>
  Array.from(readFileSync(file, 'utf8').matchAll(OPTIONS))
    .filter(([, name = '']) => !RESOLVED.has(name))
    .flatMap(([, name = '', body = '']) =>
      Array.from(body.matchAll(OPTION), ([, option = '']) => [name, option] as const),
    ),
)

describe('the pages name every option', () => {
  it.for(declared)('of %s: %s', ([, option]) => {
    expect(inCode.has(option) || inSnippets.has(option)).toBe(true)
  })

  it('of which there are many', () => {
    expect(declared.length).toBeGreaterThan(80)
  })
})
