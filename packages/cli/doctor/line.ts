import { MOST_COUNTED } from '../words.ts'

/** A check and its result. */
export interface DoctorLine {
  /** Name of the check: `connection`, `server`, `tables`, ... Several lines may have the same name. */
  readonly check: string
  /** `unknown`: the check could not be made. */
  readonly status: 'ok' | 'unknown' | 'warn' | 'fail'
  readonly text: string
  /** The error text at the end of `text`. Drivers quote values in theirs: hide it from readers who may not see payloads. */
  readonly error?: string | undefined
  /** The remedy; on every line that is not `ok`. */
  readonly remedy?: string | undefined
}

export function ok(check: string, text: string): DoctorLine {
  return { check, status: 'ok', text }
}

export function unknown(check: string, text: string, remedy: string): DoctorLine {
  return { check, status: 'unknown', text, remedy }
}

export function warn(check: string, text: string, remedy: string): DoctorLine {
  return { check, status: 'warn', text, remedy }
}

export function fail(check: string, text: string, remedy: string): DoctorLine {
  return { check, status: 'fail', text, remedy }
}

/** `3 h`, for people. */
export function duration(ms: number): string {
  const seconds = Math.max(0, ms) / 1_000
  if (seconds < 1) return `${Math.round(Math.max(0, ms))} ms`
  if (seconds < 120) return `${Math.round(seconds)} s`
  if (seconds < 2 * 3_600) return `${Math.round(seconds / 60)} min`
  if (seconds < 48 * 3_600) return `${Math.round(seconds / 3_600)} h`
  return `${Math.round(seconds / 86_400)} d`
}

/**
 * A count that may have stopped early: `100000+`.
 * @param isCut @default whether it has come to MOST_COUNTED
 */
export function orMore(count: number, isCut: boolean = count >= MOST_COUNTED): string {
  return isCut ? `${count}+` : `${count}`
}
