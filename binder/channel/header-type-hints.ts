/**
 * Headers with the types of other headers, by name, as JSON. They belong to the headers that they name: a program that forwards
 * one of those forwards its type, too, and nothing about others.
 */
import { parseShallow } from '../../core/json-depth-limit.ts'
import type { Headers, HeaderValue } from './message.ts'

/** Header of Spring's Kafka binder: names and Java classes. */
export const SPRING_TYPES = 'spring_json_header_types'
/** On RabbitMQ: names of headers with an AMQP type that has no equivalent here, and that type. */
export const AMQP_TYPES = 'amqp-types'

const TYPE_HEADERS: readonly string[] = [SPRING_TYPES, AMQP_TYPES]

/** Returns the names and types in such a header; none if it is malformed. */
export function typesIn(json: HeaderValue): ReadonlyMap<string, string> {
  const types = new Map<string, string>()
  for (const [name, type] of Object.entries(parsed(json))) if (typeof type === 'string') types.set(name, type)
  return types
}

/** Returns the wanted headers, with their types and without those of others. */
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
