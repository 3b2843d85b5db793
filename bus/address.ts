/**
 * Addresses: `service:group:instance` names one instance, a pattern names several.
 *
 *   orders:eu:orders-1    this one
 *   orders:eu:*           `*` stands for exactly one whole part
 *   orders:*:orders-1     in any position
 *   orders:**             `**`, at the end, stands for the rest, at least one part
 *   **                    all instances
 *
 * A pattern without `**` has three parts: `orders` alone is refused, because it is ambiguous. Parts are compared letter by
 * letter; `*` inside a part is refused.
 */
import { show } from '../core/errors.ts'
import { BusError } from './errors.ts'

/** Address of an instance. */
export interface Address {
  readonly service: string
  readonly group: string
  readonly instance: string
}

/** Group of an instance without one. */
export const DEFAULT_GROUP = 'default'

const PARTS = 3
const MAX_PART = 100
const NAME = /^[A-Za-z0-9._-]+$/

export interface AddressParts {
  readonly service: string
  /** Group of the instance. @default 'default' */
  readonly group?: string | undefined
  readonly instance: string
}

/** Returns `service:group:instance`. @throws `bus.address` when a part is not a valid name */
export function formatAddress({ service, group = DEFAULT_GROUP, instance }: AddressParts): string {
  const parts = [service, group, instance]
  const text = parts.join(':')
  for (const part of parts) requirePart(text, part)
  return text
}

/** @throws `bus.address` for any text that is not the full address of one instance */
export function parseAddress(text: string): Address {
  const parts = split(text)
  if (parts.length !== PARTS)
    throw new BusError('bus.address', {
      address: show(text),
      expected: 'an address has three parts: service:group:instance',
    })
  for (const part of parts) requirePart(text, part)
  const [service = '', group = '', instance = ''] = parts
  return Object.freeze({ service, group, instance })
}

/** A checked pattern, ready to be matched. */
export interface AddressPattern {
  readonly text: string
  readonly parts: readonly string[]
}

/** @throws `bus.address` */
export function parsePattern(text: string): AddressPattern {
  const parts = split(text)
  const isOpen = parts.at(-1) === '**'
  if (parts.length > PARTS || (parts.length < PARTS && !isOpen))
    throw new BusError('bus.address', {
      address: show(text),
      expected: 'expected service:group:instance, or fewer parts that end in ** ("orders:**")',
    })
  for (const [index, part] of parts.entries()) {
    if (part === '*' || (part === '**' && index === parts.length - 1)) continue
    requirePart(text, part)
  }
  return Object.freeze({ text, parts: Object.freeze(parts) })
}

/** Tells whether the pattern matches the instance. Pure. @throws `bus.address` for an invalid pattern or address */
export function matchesAddress(pattern: string, address: Address | string): boolean {
  return matches(parsePattern(pattern), typeof address === 'string' ? parseAddress(address) : address)
}

export function matches({ parts }: AddressPattern, { service, group, instance }: Address): boolean {
  const names = [service, group, instance]
  for (const [index, part] of parts.entries()) {
    if (part === '**') return true
    if (part !== '*' && part !== names[index]) return false
  }
  return true
}

function split(text: unknown): string[] {
  if (typeof text !== 'string') throw new BusError('bus.address', { address: show(text), expected: 'expected text' })
  // Longer texts cannot be valid.
  if (text.length > PARTS * (MAX_PART + 1))
    throw new BusError('bus.address', { address: show(text), expected: `at most ${MAX_PART} characters in a part` })
  return text.split(':')
}

function requirePart(text: string, part: unknown): void {
  if (typeof part === 'string' && part.length <= MAX_PART && NAME.test(part)) return
  throw new BusError('bus.address', {
    address: show(text),
    expected:
      part === '**'
        ? '** may only stand at the end'
        : `a part is 1 to ${MAX_PART} characters out of A-Z a-z 0-9 . _ -, or in a pattern * alone, or ** at the end`,
  })
}
