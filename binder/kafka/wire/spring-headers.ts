/**
 * Types of headers as Spring's Kafka binder tells them: the header `spring_json_header_types`, JSON of names and Java
 * classes. Without it every header is bytes for Spring, and every one of Spring's is text here.
 *
 * @see org.springframework.kafka.support.JsonKafkaHeaderMapper
 */
import { parseShallow } from '../../../core/shallow-json.ts'
import type { Headers, HeaderValue } from '../../channel/message.ts'

export const SPRING_TYPES = 'spring_json_header_types'

const NUMBERS = /^java\.lang\.(Byte|Short|Integer|Long|Float|Double)$/
const MAX_INTEGER = 2 ** 31 - 1

/** What the header has to say of these, with what it says already of others; `undefined`: nothing. */
export function springTypesOf(headers: Headers): string | undefined {
  const types: Array<[string, string]> = []
  for (const [name, value] of Object.entries(headers)) {
    const type = name === SPRING_TYPES ? undefined : javaTypeOf(value)
    if (type !== undefined) types.push([name, type])
  }
  if (types.length === 0) return undefined
  return JSON.stringify({ ...parsed(headers[SPRING_TYPES]), ...Object.fromEntries(types) })
}

/** By name, whether text that Spring wrote is a number or a boolean. What it says of other classes is text. */
export function readSpringTypes(json: string): Readonly<Record<string, 'number' | 'boolean'>> {
  const types: Array<[string, 'number' | 'boolean']> = []
  for (const [name, type] of Object.entries(parsed(json))) {
    if (typeof type !== 'string') continue
    if (NUMBERS.test(type)) types.push([name, 'number'])
    else if (type === 'java.lang.Boolean') types.push([name, 'boolean'])
  }
  return Object.fromEntries(types)
}

function javaTypeOf(value: HeaderValue): string | undefined {
  if (typeof value === 'string') return 'java.lang.String'
  if (typeof value === 'boolean') return 'java.lang.Boolean'
  if (typeof value !== 'number') return undefined
  if (!Number.isSafeInteger(value)) return 'java.lang.Double'
  return Math.abs(value) <= MAX_INTEGER ? 'java.lang.Integer' : 'java.lang.Long'
}

function parsed(json: HeaderValue | undefined): Readonly<Record<string, unknown>> {
  try {
    const types: unknown = parseShallow(String(json))
    return typeof types === 'object' && types !== null ? (types as Record<string, unknown>) : {}
  } catch {
    return {}
  }
}
