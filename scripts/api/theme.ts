/**
 * Layout of the pages of docs/api: the names by kind, each with its docstring, its signature as TypeScript and one
 * table of its members. The page does not repeat what the signature says.
 */
import { type CommentDisplayPart, ProjectReflection, type SignatureReflection } from 'typedoc'
import { MarkdownTheme, MarkdownThemeContext } from 'typedoc-plugin-markdown'
import { importPath } from '../packages.ts'
import { anchorsOf } from './anchors.ts'

type Context = ConstructorParameters<typeof MarkdownThemeContext>
type Page = Context[1]
type Words = (parts: readonly CommentDisplayPart[]) => string

/** Title of the group of types that other names refer to and that no subpath exports. */
export const NOT_EXPORTED = 'Not exported'

const HOW_TO_NAME =
  'TypeScript infers these types where they are needed. To write one, read it off an exported name: `Parameters<typeof createBinder>[0]`.'

export class CompactTheme extends MarkdownTheme {
  override getRenderContext(page: Page): MarkdownThemeContext {
    return new CompactContext(this, page, this.application.options)
  }

  override render(page: Parameters<MarkdownTheme['render']>[0]): string {
    const { model } = page
    if (model instanceof ProjectReflection) return index(model)
    return withNames(
      plain(super.render(page)).replace(`## ${NOT_EXPORTED}\n`, `## ${NOT_EXPORTED}\n\n${HOW_TO_NAME}\n`),
    )
  }
}

class CompactContext extends MarkdownThemeContext {
  constructor(...context: Context) {
    super(...context)
    const given = this.partials
    const words: Words = (parts) => this.helpers.getCommentParts([...parts])
    this.partials = {
      ...given,
      inheritance: () => '',
      hierarchy: ({ isTarget, types }) =>
        isTarget === true ? '' : `Extends ${types.map((type) => this.partials.someType(type)).join(', ')}.`,
      // Tags are paragraphs (**Throws** ...), not headings.
      comment: (comment, options) =>
        given
          .comment(comment, { ...options, headingLevel: undefined })
          .replaceAll(/^```ts\n(.*)\n```$/gm, '`$1`')
          .replaceAll(/^(\*\*[\w ]+\*\*)\n+(?=[^\s`]|`[^`])/gm, '$1 '),
      signatures: ({ signatures = [] }) =>
        signatures
          .map((signature, index) => {
            const said = comments(signature) !== comments(signatures[index + 1])
            return [
              given.signatureTitle(signature),
              ...(said ? [this.partials.signature(signature, { headingLevel: 0, hideTitle: true })] : []),
            ].join('\n\n')
          })
          .join('\n\n'),
      signature: (signature, options) =>
        [
          options.hideTitle === true ? '' : given.signatureTitle(signature),
          signature.comment === undefined ? '' : this.partials.comment(signature.comment, {}),
          parameters(signature, words),
          returned(signature, words),
        ]
          .filter((part) => part.trim() !== '')
          .join('\n\n'),
    }
  }
}

/** Compares docstrings: overloads that share one show it once, below the last of them. */
function comments(signature: SignatureReflection | undefined): string | undefined {
  return signature === undefined ? undefined : JSON.stringify(signature.comment?.summary.map(({ text }) => text))
}

function parameters(signature: SignatureReflection, words: Words): string {
  return (signature.parameters ?? [])
    .filter(({ comment }) => comment?.hasVisibleComponent())
    .map(({ name, comment }) => `- \`${name}\`: ${words(comment?.summary ?? []).replaceAll(/\s*\n\s*/g, ' ')}`)
    .join('\n')
}

function returned(signature: SignatureReflection, words: Words): string {
  const tag = signature.comment?.getTag('@returns')
  return tag === undefined ? '' : `**Returns** ${words(tag.content)}`
}

/** Removes the anchors of properties: their numbers shift with every added name, and no link leads to them. */
function plain(page: string): string {
  return page
    .replaceAll(/<a id="[^"]*"><\/a> ?/g, '')
    .replaceAll(/^\*\*\*\n\n/gm, '')
    .replaceAll(/ \| - \|$/gm, ' | |')
    .replaceAll(/ +$/gm, '')
}

/** Adds a line of links for each kind below the introduction. */
function withNames(page: string): string {
  const [start = '', ...kinds] = page.split(/^(?=## )/m)
  const anchors = anchorsOf(page)
  const lines = kinds.map((kind) => {
    const title = /^## (.+)$/m.exec(kind)?.[1] ?? ''
    const names = Array.from(kind.matchAll(/^### (.+)$/gm), ([, name = '']) => name.replaceAll('\\', ''))
    return `**${title}:** ${names.map((name) => `[${name}](#${anchors.get(name)})`).join(', ')}\n\n`
  })
  return [start, ...lines, ...kinds].join('')
}

/** Renders the index page: each subpath with the first sentence of its introduction. */
function index(project: ProjectReflection): string {
  const rows = (project.children ?? []).map(({ name, comment }) => {
    const words = (comment?.summary ?? []).map(({ text }) => text).join('')
    const [sentence = ''] = words.split(/(?<=\.)\s|:?\s*\n\n/)
    return `| [\`${importPath(name)}\`](${name}.md) | ${sentence.replaceAll(/\s+/g, ' ').replace(/\.?$/, '.')} |\n`
  })
  return [
    '# API reference\n\nEach import path, with all its names, their signatures and their docstrings. `npm run docs:api` makes these\n',
    'pages from the sources. The guides are [a level up](../../README.md#where-to-start); the words are in the [glossary](../reference/glossary.md).\n\n',
    '| import | what is in it |\n|---|---|\n',
    ...rows,
  ].join('')
}
