/** Which statements may be kept prepared. */

const KEPT = /^\s*(?:SELECT|INSERT|UPDATE|DELETE|WITH|MERGE|VALUES)\b/i
/** A list of columns that another statement could make longer: a prepared one would fail from then on. */
const ALL_COLUMNS = /(?:\bSELECT\s+(?:DISTINCT\s+)?|\bRETURNING\s+|,\s*|\.)\*/i
/** A moment that PostgreSQL reads while it parses: by the time zone of then, or as the time of then. */
const MOMENT = /'[^']*\d[-/:]\d[^']*'|'\s*(?:now|today|tomorrow|yesterday)\b[^']*'/i

/** A single statement, whatever it may depend on. */
export function isKeepable(text: string): boolean {
  return KEPT.test(text)
}

/** True if the statement means the same each time, even after columns were added. */
export function canBeKept(text: string): boolean {
  return KEPT.test(text) && !ALL_COLUMNS.test(text) && !MOMENT.test(text)
}
