/**
 * Rows as texts: what each type writes of a value, and reads again, is exact where JSON is not (`json`, arrays with bounds,
 * the JSON null of a `jsonb` column, types with a cast of their own).
 */
import { quoteIdentifier, quoteLiteral, type SqlExecutor } from '../../core/sql.ts'

/** A row: each column's text, `null` for NULL. Its columns come in the order of `jsonb`, so equal rows have equal JSON. */
export type RowText = Readonly<Record<string, string | null>>

/** Settings that influence such texts. */
export const TEXT_SETTINGS = {
  TimeZone: 'UTC',
  DateStyle: 'ISO, YMD',
  IntervalStyle: 'postgres',
  extra_float_digits: '1',
  bytea_output: 'hex',
  lc_monetary: 'C',
  xmloption: 'content',
} as const

/** Until the end of the transaction its texts are those of the triggers. */
export async function fixTexts(tx: SqlExecutor): Promise<void> {
  const all = Object.entries(TEXT_SETTINGS).map(([name, value]) => `set_config('${name}', '${value}', true)`)
  await tx.query(`SELECT ${all.join(', ')}`)
}

/** The text of the value that `expression` is; NULL only where the value itself is, not where all its fields are. */
export function textOf(expression: string): string {
  return `CASE num_nulls(${expression}) WHEN 0 THEN concat(${expression}) END`
}

/** A column that is part of a key. */
export interface KeyColumn {
  readonly name: string
  /** Equal numbers may be written with more or fewer zeros. */
  readonly isNumeric: boolean
}

/** The text of a key: the same for values that are equal. @param row an expression such as `t`, or `($1)` */
export function keyText(row: string, columns: readonly KeyColumn[]): string {
  const fields = columns.map(({ name, isNumeric }) => {
    const value = `${row}.${quoteIdentifier(name)}`
    return `${quoteLiteral(name)}, concat(${isNumeric ? `trim_scale(${value})` : value})`
  })
  return `jsonb_build_object(${fields.join(', ')})::text`
}
