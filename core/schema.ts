import type { StandardSchemaV1 } from '@standard-schema/spec'
import { ConcordatError, show } from './errors.ts'
import { isThenable } from './option-checks.ts'
import { readable, throwReadable } from './thrown-values.ts'

export type { StandardSchemaV1 } from '@standard-schema/spec'

/** Expected value of an option that is a schema. Earlier releases of zod have another interface. */
export const A_SCHEMA = 'a Standard Schema such as z.object({...}) of zod 3.24 or later'

/** A reason why a value does not match its schema; `path` reads like code: `lines[0].quantity`. */
export interface SchemaIssue {
  readonly path: string
  readonly message: string
}

/** A value does not match its schema. Never retryable. */
export class SchemaError extends ConcordatError {
  readonly code = 'core.schema' as const
  readonly retryable = false as const
  readonly subject: string
  readonly issues: readonly SchemaIssue[]

  constructor(subject: string, issues: readonly SchemaIssue[]) {
    super(`${subject} does not fit its schema: ${issues.map(describeIssue).join('; ')}`)
    this.subject = subject
    this.issues = issues
  }
}

/**
 * Validates with any Standard Schema. Synchronous if the schema is.
 * @param subject what is validated, for the error: `payload of orders.placed`
 * @throws SchemaError with every issue and its path
 * @see https://standardschema.dev
 */
export function validate<S extends StandardSchemaV1>(
  subject: string,
  schema: S,
  value: unknown,
): StandardSchemaV1.InferOutput<S> | Promise<StandardSchemaV1.InferOutput<S>> {
  try {
    const result = schema['~standard'].validate(value)
    if (result instanceof Promise) return result.then((late) => unwrap(subject, late), throwReadable)
    // A promise of another realm or library.
    return isThenable(result)
      ? Promise.resolve(result).then((late) => unwrap(subject, late as typeof result), throwReadable)
      : unwrap(subject, result)
  } catch (thrown) {
    throw readable(thrown)
  }
}

function unwrap<T>(subject: string, result: StandardSchemaV1.Result<T>): T {
  if (typeof result !== 'object' || result === null) {
    const message = `the schema answered ${show(result)}, expected { value } or { issues }`
    throw new SchemaError(subject, [{ path: '', message }])
  }
  if (result.issues === undefined) return result.value
  throw new SchemaError(
    subject,
    result.issues.slice(0, 20).map((issue) => ({ path: pathText(issue.path ?? []), message: issue.message })),
  )
}

function pathText(path: ReadonlyArray<PropertyKey | StandardSchemaV1.PathSegment>): string {
  let text = ''
  for (const segment of path) {
    const key = typeof segment === 'object' ? segment.key : segment
    text += typeof key === 'number' ? `[${key}]` : `${text === '' ? '' : '.'}${String(key)}`
  }
  return text
}

function describeIssue(issue: SchemaIssue): string {
  return issue.path === '' ? issue.message : `${issue.path}: ${issue.message}`
}
