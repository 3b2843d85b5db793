/** Which statements may be kept prepared. */

const KEPT = /^\s*(?:SELECT|INSERT|UPDATE|DELETE|WITH|MERGE|VALUES)\b/i
/** A list of columns that another statement could make longer: a prepared one would fail from then on. */
const ALL_COLUMNS = /(?:\bSELECT\s+(?:DISTINCT\s+)?|\bRETURNING\s+|,\s*|\.)\*/i
/** A moment that PostgreSQL reads while it parses: by the time zone of then, or as the time of then. */
const MOMENT = /'[^']*\d[-/:]\d[^']*'|'\s*(?:now|today|tomorrow|yesterday)\b[^']*'/i

/** One of them, whatever it may depend on. */
export function isKeepable(text: string): boolean {
  return KEPT.test(text)
}

/** It means the same each time, also when tables have got columns in between. */
export function canBeKept(text: string): boolean {
  return KEPT.test(text) && !ALL_COLUMNS.test(text) && !MOMENT.test(text)
}
