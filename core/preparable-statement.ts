/** Decides which statements may stay prepared. */

const KEPT = /^\s*(?:SELECT|INSERT|UPDATE|DELETE|WITH|MERGE|VALUES)\b/i
/** A list of columns that another statement could extend: a prepared statement would fail from then on. */
const ALL_COLUMNS = /(?:\bSELECT\s+(?:DISTINCT\s+)?|\bRETURNING\s+|,\s*|\.)\*/i
/** A date or time that PostgreSQL reads during parsing: with the time zone, or the time, of that moment. */
const MOMENT = /'[^']*\d[-/:]\d[^']*'|'\s*(?:now|today|tomorrow|yesterday)\b[^']*'/i

/** A single statement, whatever it may depend on. */
export function isKeepable(text: string): boolean {
  return KEPT.test(text)
}

/** True if the statement has the same meaning each time, even after columns were added. */
export function canBeKept(text: string): boolean {
  return KEPT.test(text) && !ALL_COLUMNS.test(text) && !MOMENT.test(text)
}
