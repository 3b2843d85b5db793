/** Generates the page of error codes: the meaning of each error, whether to retry, and a message with its remedy. */
import type { DeclarationReflection } from 'typedoc'
import { importPath } from '../packages.ts'
import type { Reference } from './reference.ts'

/** Sample of an error that the package throws. */
export interface ErrorSample {
  readonly error: Error
  readonly code: string
  readonly retryable: boolean
}

/** @returns the text of docs/reference/errors.md */
export function errorsPage({ project }: Reference, samples: readonly ErrorSample[]): string {
  const classes = new Map(
    (project.children ?? []).flatMap((page) =>
      (page.children ?? []).filter((each) => !each.isReference()).map((each) => [each.name, { page: page.name, each }]),
    ),
  )
  const byCode = new Map(samples.map((sample) => [sample.code, sample]))
  const codes = [...byCode.values()].toSorted((a, b) => a.code.localeCompare(b.code))
  const parts = Map.groupBy(codes, ({ code }) => code.split('.')[0] ?? '')
  const sections = [...parts].flatMap(([part, errors]) => [
    `## ${part}`,
    ...errors.map((sample) => section(sample, classes.get(sample.error.name))),
  ])
  return `${[HEAD, ...sections].join('\n\n')}\n`
}

const HEAD = `# Error codes

Every error that the package throws at run time has a \`code\` and says whether the same call may succeed later
(\`retryable\`). Match on the code: \`hasCode(error, 'locks.lost')\`. Invalid options are a \`TypeError\` or a \`RangeError\` that
names the option, its value and what is expected. \`npm run docs:api\` generates this page from the classes; the messages are
examples.`

type Class = { readonly page: string; readonly each: DeclarationReflection }

function section({ code, error, retryable }: ErrorSample, found: Class | undefined): string {
  const meaning = (found?.each.comment?.summary ?? []).map(({ text }) => text).join('')
  const from = found === undefined ? '' : `, from \`${importPath(found.page)}\``
  return [
    `### ${code}`,
    `\`${error.name}\`${from}. ${retryable ? 'Retryable.' : 'Not retryable.'}`,
    meaning.replaceAll(/\s+/g, ' '),
    `> ${error.message}`,
  ]
    .filter((line) => line !== '')
    .join('\n\n')
}
