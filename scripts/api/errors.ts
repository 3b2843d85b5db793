/** Generates the page of error codes: the meaning of each error, whether to retry, and a message with its remedy. */
import type { DeclarationReflection } from 'typedoc'
import { importPath } from '../packages.ts'
import type { Reference } from './reference.ts'

/** Sample of an error that the package throws. */
export interface ErrorSample {
  readonly error: Error & { readonly code: string; readonly retryable: boolean }
}

/** @returns the text of docs/reference/errors.md */
export function errorsPage({ project }: Reference, samples: readonly ErrorSample[]): string {
  const names = (project.children ?? []).flatMap((page) =>
    (page.children ?? []).filter((each) => !each.isReference()).map((each) => ({ page: page.name, each })),
  )
  const found = new Map(names.map((name) => [name.each.name, name]))
  // An interface such as `LockErrors` documents each code of its class.
  for (const { page, each: fields } of names)
    for (const each of fields.children ?? []) if (each.name.includes('.')) found.set(each.name, { page, each })
  const byCode = new Map(samples.map(({ error }) => [error.code, error]))
  const codes = [...byCode.values()].toSorted((a, b) => a.code.localeCompare(b.code))
  const parts = Map.groupBy(codes, ({ name, code }) => (OWN_CODES.has(name) ? 'saga' : (code.split('.')[0] ?? '')))
  const sorted = [...parts].toSorted(([a], [b]) => a.localeCompare(b))
  const sections = sorted.flatMap(([part, errors]) => [
    `## ${part}`,
    ...errors.map((error) => section(error, found.get(error.code) ?? found.get(error.name))),
  ])
  return `${[HEAD, ...sections].join('\n\n')}\n`
}

const HEAD = `# Error codes

Every error that the package throws at run time has a \`code\` and says whether the same call may succeed later
(\`retryable\`). Match on the code: \`hasCode(error, 'locks.lost')\`. Most parts have one class, whose fields depend on the code:
\`error instanceof LockError && error.code === 'locks.lost'\` types them. Invalid options are a \`TypeError\` or a \`RangeError\`
that names the option, its value and what is expected. \`npm run docs:api\` generates this page from the docstrings; the messages
are examples.`

/** Classes whose code the user gives. */
const OWN_CODES: ReadonlySet<string> = new Set(['Refusal', 'BranchRefused'])

/** Codes of which one error may be retryable and another not. */
const EITHER: ReadonlySet<string> = new Set(['binder.request_failed', 'binder.send', 'binder.transport'])

function retryability({ code, retryable }: ErrorSample['error']): string {
  if (EITHER.has(code)) return 'Retryable or not: see `retryable` of the error.'
  return retryable ? 'Retryable.' : 'Not retryable.'
}

/** A class, or a code of one. */
type Found = { readonly page: string; readonly each: DeclarationReflection }

function section(error: ErrorSample['error'], found: Found | undefined): string {
  const meaning = (found?.each.comment?.summary ?? []).map(({ text }) => text).join('')
  const from = found === undefined ? '' : `, from \`${importPath(found.page)}\``
  return [
    OWN_CODES.has(error.name) ? `### ${error.name}, with a code of yours` : `### ${error.code}`,
    `\`${error.name}\`${from}. ${retryability(error)}`,
    meaning.replaceAll(/\s+/g, ' '),
    `> ${error.message}`,
  ]
    .filter((line) => line !== '')
    .join('\n\n')
}
