/** Storable data: keys, and values that are returned as they were stored. */
import { show } from '../../../core/errors.ts'
import { isDeeperThan } from '../../../core/json-nesting.ts'
import { ClusterError } from './cluster-errors.ts'

/** Limit of a key, in bytes of UTF-8. */
const MAX_KEY_BYTES = 512

/** @throws `cluster.data_invalid`, `cluster.data_too_large` */
export function requireKey(subject: string, key: unknown): string {
  if (typeof key !== 'string' || key === '')
    throw new ClusterError('cluster.data_invalid', {
      subject,
      problem: `expected a non-empty string as key, got ${show(key)}`,
    })
  // This key would vanish when a program copies entries into a plain object.
  if (key === '__proto__')
    throw new ClusterError('cluster.data_invalid', { subject, problem: '"__proto__" cannot be a key: choose another' })
  if (!key.isWellFormed())
    throw new ClusterError('cluster.data_invalid', {
      subject,
      problem: `the key ${show(key)} has no UTF-8 form: encode it`,
    })
  const bytes = Buffer.byteLength(key)
  if (bytes > MAX_KEY_BYTES)
    throw new ClusterError('cluster.data_too_large', { subject: `${subject}, a key`, bytes, maxBytes: MAX_KEY_BYTES })
  return key
}

/**
 * JSON of a value that JSON can hold without loss.
 * @throws `cluster.data_invalid` naming the place, `cluster.data_too_large`
 */
export function encodeJson(subject: string, value: unknown, maxBytes: number): string {
  requireJson(subject, '$', value, new Set())
  const json = JSON.stringify(value)
  const bytes = Buffer.byteLength(json)
  if (bytes > maxBytes) throw new ClusterError('cluster.data_too_large', { subject, bytes, maxBytes })
  return json
}

function requireJson(subject: string, path: string, value: unknown, above: Set<object>): void {
  if (value === null || typeof value === 'string' || typeof value === 'boolean' || Number.isFinite(value)) return
  if (typeof value !== 'object') {
    throw new ClusterError('cluster.data_invalid', {
      subject,
      problem: `${path} is ${kindOf(value)}, which JSON cannot hold: convert it first`,
    })
  }
  if (above.has(value))
    throw new ClusterError('cluster.data_invalid', {
      subject,
      problem: `${path} refers to what it is part of: keep a tree`,
    })
  if (above.size > 200)
    throw new ClusterError('cluster.data_invalid', {
      subject,
      problem: `${path} is nested too deeply: keep it flatter`,
    })
  above.add(value)
  if (Array.isArray(value)) {
    for (let n = 0; n < value.length; n++) requireJson(subject, `${path}[${n}]`, value[n], above)
  } else {
    requirePlain(subject, path, value)
    // JSON leaves such a property out, and reading an absent one gives `undefined` again.
    for (const [name, part] of Object.entries(value))
      if (part !== undefined) requireJson(subject, `${path}.${name}`, part, above)
  }
  above.delete(value)
}

function requirePlain(subject: string, path: string, value: object): void {
  const prototype: unknown = Object.getPrototypeOf(value)
  if ((prototype === Object.prototype || prototype === null) && !('toJSON' in value)) return
  throw new ClusterError('cluster.data_invalid', {
    subject,
    problem: `${path} is ${kindOf(value)}, which JSON cannot hold as it is: convert it first`,
  })
}

function kindOf(value: unknown): string {
  if (typeof value === 'number' || value === undefined) return String(value)
  if (typeof value !== 'object' || value === null) return `a ${typeof value}`
  const name = (value.constructor as { name?: string } | undefined)?.name
  return name === undefined || name === 'Object' ? 'an object with a prototype or toJSON' : `an instance of ${name}`
}

/** The value of a JSON text. @throws `cluster.data_invalid`: another program wrote it */
export function decodeJson(subject: string, json: string): unknown {
  let value: unknown
  try {
    value = JSON.parse(json)
  } catch {
    throw new ClusterError('cluster.data_invalid', {
      subject,
      problem: 'what is kept is no JSON, so another program wrote it: put it again',
    })
  }
  if (isDeeperThan(value, MOST_LEVELS))
    throw new ClusterError('cluster.data_invalid', { subject, problem: 'what is kept is nested too deeply' })
  return value
}

/** The same, frozen through and through: many readers get the same one. */
export function decodeFrozen(subject: string, json: string): unknown {
  return freeze(decodeJson(subject, json))
}

/** More than `encodeJson` lets in. */
const MOST_LEVELS = 210

function freeze(value: unknown): unknown {
  if (typeof value !== 'object' || value === null) return value
  for (const part of Object.values(value)) freeze(part)
  return Object.freeze(value)
}
