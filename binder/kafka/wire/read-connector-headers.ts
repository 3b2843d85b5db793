/**
 * Record headers that a connector copies from the columns of an outbox row, such as Debezium's outbox event router. It cannot
 * split the column `headers`, so the record contains all of the sender's headers in one, as JSON. Pure.
 *
 * @see docs/messages/exactly-once.md, Debezium
 */
import { headersFromJson } from '../../channel/json-header.ts'
import type { Headers } from '../../channel/message.ts'

/** The column `headers`. */
export const ROW_HEADERS = 'concordat-headers'
/** The column `time`, epoch ms. */
export const ROW_TIME = 'concordat-time'

/** Headers that the router adds to every record: the row's id, and the connector's own context. */
const ROUTERS_ID = 'id'
const DEBEZIUM = '__debezium.'

/**
 * @param json the value of `ROW_HEADERS`, `null` for a row without headers
 * @returns the sender's headers; `undefined` when the value is not that column
 */
export function rowHeaders(json: string | null): Headers | undefined {
  try {
    return headersFromJson(json)
  } catch {
    return undefined
  }
}

/** @returns epoch ms; `undefined` when the value is not that column */
export function rowTime(millis: string | undefined): number | undefined {
  return millis !== undefined && /^-?\d{1,16}$/.test(millis) ? Number(millis) : undefined
}

/** Tells whether the router created the header; messages of the relay never have it. */
export function isRouters(name: string, value: string | undefined, id: string | undefined): boolean {
  return name.startsWith(DEBEZIUM) || (name === ROUTERS_ID && value === id)
}
