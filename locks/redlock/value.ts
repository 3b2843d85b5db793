import { randomId } from '../../core/random-id.ts'
import type { ClaimTerms } from '../store.ts'

/** Values are `<random>.<lock delay>.<owner>`. */
export function newValue(terms: ClaimTerms): string {
  return `${randomId()}.${terms.lockDelayMs}.${encodeURIComponent(terms.owner)}`
}

export function ownerOf(value: string): string {
  const encoded = value.split('.').slice(2).join('.')
  try {
    return decodeURIComponent(encoded)
  } catch {
    return encoded
  }
}

export function lockDelayOf(value: string): number {
  return Number(value.split('.')[1] ?? 0)
}
