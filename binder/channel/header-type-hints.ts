/**
 * Headers that say the types of other headers, by name, as JSON. They belong to the headers that they name: a program that hands on one
 * of those hands on what is said of it, and nothing about others.
 */
import { parseShallow } from '../../core/json-depth-limit.ts'
import type { Headers, HeaderValue } from './message.ts'

/** Header of Spring's Kafka binder: names and Java classes. */
export const SPRING_TYPES = 'spring_json_header_types'
/** On RabbitMQ: names of headers whose AMQP type is none of ours, and that type. */
export const AMQP_TYPES = 'amqp-types'

const TYPE_HEADERS: readonly string[] = [SPRING_TYPES, AMQP_TYPES]

/** The names and types that such a header has; none where it is malformed. */
export function typesIn(json: HeaderValue): ReadonlyMap<string, string> {
  const types = new Map<string, string>()
  for (const [name, type] of Object.entries(parsed(json))) if (typeof type === 'string') types.set(name, type)
  return types
}

/** The headers that are wanted, with what is said of their types and nothing of that of others. */
export function pickHeaders(from: Headers, isWanted: (name: string) => boolean): Headers {
  const picked = Object.entries(from).filter(([name]) => !TYPE_HEADERS.includes(name) && isWanted(name))
  const names = new Set(picked.map(([name]) => name))
  for (const header of TYPE_HEADERS) {
    const types = Object.hasOwn(from, header) ? [...typesIn(from[header] ?? null)] : []
    const said = types.filter(([name]) => names.has(name))
    if (said.length > 0) picked.push([header, JSON.stringify(Object.fromEntries(said))])
  }
  return Object.fromEntries(picked)
}

function parsed(json: HeaderValue): object {
  if (typeof json !== 'string') return {}
  try {
    const types: unknown = parseShallow(json)
    return typeof types === 'object' && types !== null ? types : {}
  } catch {
    return {}
  }
}
