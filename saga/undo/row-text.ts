/**
 * Rows as texts, which each type writes and reads exactly, unlike JSON (`json`, arrays with bounds, the JSON null of a `jsonb`
 * column, types with their own cast).
 */
import { quoteIdentifier, quoteLiteral, type SqlExecutor } from '../../core/sql.ts'

/** A row: each column's text, `null` for NULL. Columns are in the order of `jsonb`, so equal rows have equal JSON. */
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

/** Applies the triggers' text settings until the end of the transaction. */
export async function fixTexts(tx: SqlExecutor): Promise<void> {
  const all = Object.entries(TEXT_SETTINGS).map(([name, value]) => `set_config('${name}', '${value}', true)`)
  await tx.query(`SELECT ${all.join(', ')}`)
}

/** Returns the text of a value as SQL; NULL only if the value itself is NULL, not if all its fields are. */
export function textOf(expression: string): string {
  return `CASE num_nulls(${expression}) WHEN 0 THEN concat(${expression}) END`
}

/** A column of a key. */
export interface KeyColumn {
  readonly name: string
  /** Numeric: equal numbers may be written with more or fewer zeros. */
  readonly isNumeric: boolean
}

/** Returns the text of a key, the same for equal values. @param row expression such as `t`, or `($1)` */
export function keyText(row: string, columns: readonly KeyColumn[]): string {
  const fields = columns.map(({ name, isNumeric }) => {
    const value = `${row}.${quoteIdentifier(name)}`
    return `${quoteLiteral(name)}, concat(${isNumeric ? `trim_scale(${value})` : value})`
  })
  return `jsonb_build_object(${fields.join(', ')})::text`
}
