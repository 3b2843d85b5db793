/** Generates the page of options: every options interface that users write, by import path, with its defaults. */
import type { Comment, DeclarationReflection, SomeType } from 'typedoc'
import { importPath } from '../packages.ts'
import type { Reference } from './reference.ts'

const IS_OPTIONS = /(?:Options|Limits)$/

/** @returns the text of docs/reference/options.md */
export function optionsPage({ project }: Reference): string {
  const parts = (project.children ?? []).flatMap((page) => {
    const interfaces = (page.children ?? [])
      .filter((each) => !each.isReference() && IS_OPTIONS.test(each.name))
      .toSorted((a, b) => a.name.localeCompare(b.name))
      .flatMap(section)
    return interfaces.length === 0 ? [] : [`## ${importPath(page.name)}`, ...interfaces]
  })
  return `${[HEAD, ...parts].join('\n\n')}\n`
}

const HEAD = `# Options

Every option with its default. \`npm run docs:api\` generates this page from the docstrings; the
[API reference](../api/README.md) has the types and the full text.`

function section(options: DeclarationReflection): readonly string[] {
  const own = (options.children ?? []).filter(
    ({ inheritedFrom, type }) => !hasSection(inheritedFrom?.name) && type?.toString() !== 'undefined',
  )
  const others = (options.extendedTypes ?? []).map(inherited).filter((text) => text !== undefined)
  // Types of a driver, and helpers of signatures, say nothing about their properties.
  const isDescribed = own.some((option) => commentOf(option)?.hasVisibleComponent())
  if (!isDescribed && (own.length > 0 || others.length === 0)) return []
  const rows = own.map((option) => {
    const comment = commentOf(option)
    const name = `\`${option.name}${option.flags.isOptional ? '?' : ''}\``
    return `| ${name} | ${cell(defaultOf(comment))} | ${cell(firstSentence(textOf(comment?.summary)))} |`
  })
  const table = ['| Option | Default | Description |', '| --- | --- | --- |', ...rows].join('\n')
  const from = others.join(', and ')
  const more =
    from === '' ? [] : [`${from.charAt(0).toUpperCase()}${from.slice(1)}${rows.length === 0 ? '.' : ', and:'}`]
  return [`### ${options.name}`, ...more, ...(rows.length === 0 ? [] : [table])]
}

/** @param member such as `RedisOptions.url`, or `Pick.group` */
function hasSection(member = ''): boolean {
  return IS_OPTIONS.test(member.replace(/\..*/, '')) || /^(?:Pick|Omit)\./.test(member)
}

/** Links to the API page of the interface, which says where it is imported from: two parts may have one of the same name. */
function linkTo(type: SomeType | undefined): string {
  const name = `\`${type?.type === 'reference' ? type.name : String(type)}\``
  const page = type?.type === 'reference' ? type.reflection?.parent?.name : undefined
  return page === undefined ? name : `[${name}](../api/${page}.md)`
}

/** Names options of an interface with a section of its own that these have, too. */
function inherited(type: SomeType): string | undefined {
  if (type.type !== 'reference') return undefined
  const [base, names] = type.typeArguments ?? []
  const list = String(names).replaceAll('"', '`').replaceAll(' | ', ', ')
  if (type.name === 'Pick') return `${list} of ${linkTo(base)}`
  if (type.name === 'Omit') return `all options of ${linkTo(base)} without ${list}`
  return IS_OPTIONS.test(type.name) ? `all options of ${linkTo(type)}` : undefined
}

function commentOf(option: DeclarationReflection): Comment | undefined {
  const callable = option.type?.type === 'reflection' ? option.type.declaration : undefined
  const signatures = [...(option.signatures ?? []), ...(callable?.signatures ?? [])]
  return option.comment ?? signatures.find((signature) => signature.hasComment())?.comment
}

/** Returns the text of `@default`, without the fence that typedoc puts around one line. */
function defaultOf(comment: Comment | undefined): string {
  return textOf(comment?.getTag('@default')?.content).replaceAll(/^```ts\n|\n```$/g, '')
}

function textOf(parts: Comment['summary'] = []): string {
  return parts.map(({ text }) => text).join('')
}

/** Cuts the text after the first full stop, exclamation mark or question mark that is followed by a space. */
export function firstSentence(text: string): string {
  return text.replaceAll(/\s+/g, ' ').split(/(?<=[.!?]) /)[0] ?? ''
}

function cell(text: string): string {
  return text.replaceAll(/\s+/g, ' ').replaceAll('|', '\\|')
}
