/**
 * Columns that a trigger of the user sets at each update, such as `updated_at` and `version`. Such a trigger also changes
 * restored rows, so these columns have to be ignored.
 */

/** A row trigger that runs before an update. */
export interface Setter {
  readonly trigger: string
  /** Name of its function. */
  readonly name: string
  /** Text of its function, in any language. */
  readonly source: string
  /** Its arguments, each followed by a NUL. */
  readonly args: string
}

export interface SetColumn {
  readonly trigger: string
  readonly column: string
}

/** An assignment in PL/pgSQL: `NEW.updated_at := now();` */
const ASSIGNMENT = /\bnew\s*\.\s*("(?:[^"]|"")+"|\w+)\s*:?=\s*([^;]+);/gi
/** Values that differ at each update: times, and counters that increase the row's value. */
const OTHER_EACH_TIME =
  /\b(?:now|clock_timestamp|statement_timestamp|transaction_timestamp|timeofday)\s*\(|\b(?:current|local)_?time(?:stamp)?\b|\bcurrent_date\b|\b(?:old|new)\b[^;]*[+-]\s*\d+\s*$/i
/** An existing value is kept. */
const KEPT = /^\s*coalesce\s*\(\s*new\s*\./i
/** Functions of PostgreSQL's own extensions that are not written in PL/pgSQL; their argument is the column. */
const EXTENSIONS: readonly string[] = ['moddatetime']

/** @param columns of the table @param key of its primary key, never set by triggers @param ignored columns already ignored */
export function columnsSetAnew(
  setters: readonly Setter[],
  columns: readonly string[],
  ignored: readonly string[],
): readonly SetColumn[] {
  return setters.flatMap((setter) =>
    columnsOf(setter)
      .filter((column) => columns.includes(column) && !ignored.includes(column))
      .map((column) => ({ trigger: setter.trigger, column })),
  )
}

function columnsOf({ name, source, args }: Setter): readonly string[] {
  if (EXTENSIONS.includes(name)) return args.split('\\000').filter((arg) => arg !== '')
  const found = new Set<string>()
  for (const [, column = '', value = ''] of withoutComments(source).matchAll(ASSIGNMENT)) {
    if (OTHER_EACH_TIME.test(value) && !KEPT.test(value)) found.add(unquoted(column))
  }
  return [...found]
}

function withoutComments(source: string): string {
  return source.replaceAll(/--[^\n]*|\/\*[\s\S]*?\*\//g, ' ')
}

function unquoted(name: string): string {
  return name.startsWith('"') ? name.slice(1, -1).replaceAll('""', '"') : name.toLowerCase()
}
