/** Outcome of an event at one instance, in a form that can be sent. */
import { cutUtf8 } from '../core/cut-utf8.ts'
import { said, toError } from '../core/errors.ts'
import { parseShallow } from '../core/json-depth-limit.ts'
import { fieldOf } from '../core/thrown-values.ts'
import type { AckStatus } from './envelope.ts'

/** Error of an event's handler, as sent back to the publisher. */
export interface AckError {
  readonly name: string
  /** At most 1 024 bytes. */
  readonly message: string
  /** Its stable code, if it has one: `bus.forbidden`. */
  readonly code?: string | undefined
}

export interface Outcome {
  readonly status: AckStatus
  /** When it failed. */
  readonly error?: AckError | undefined
}

export const ACKED: Outcome = Object.freeze({ status: 'acked' })
export const IGNORED: Outcome = Object.freeze({ status: 'ignored' })

const MAX_NAME_BYTES = 128
const MAX_MESSAGE_BYTES = 1_024

export function failedWith(reason: unknown): Outcome {
  const error = toError(reason)
  const code = fieldOf(error, 'code')
  return {
    status: 'failed',
    error: {
      name: cutUtf8(said(error, 'name'), MAX_NAME_BYTES),
      message: cutUtf8(said(error, 'message'), MAX_MESSAGE_BYTES),
      ...(typeof code === 'string' && { code: cutUtf8(code, MAX_NAME_BYTES) }),
    },
  }
}

export function encodeOutcome({ error }: Outcome): Uint8Array {
  return Buffer.from(JSON.stringify(error === undefined ? {} : { error }))
}

/** Never throws: an unreadable outcome is a failure without a message. */
export function decodeOutcome(status: AckStatus, body: Uint8Array): Outcome {
  if (status !== 'failed') return status === 'acked' ? ACKED : IGNORED
  const { name, message, code } = errorIn(body)
  return failedWith(
    Object.assign(new Error(text(message)), { name: text(name) || 'Error' }, code ? { code: text(code) } : {}),
  )
}

function errorIn(body: Uint8Array): Readonly<Record<string, unknown>> {
  try {
    const value = parseShallow(Buffer.from(body).toString()) as { error?: unknown } | null
    const error = value?.error
    return typeof error === 'object' && error !== null ? { ...error } : {}
  } catch {
    return {}
  }
}

function text(value: unknown): string {
  return typeof value === 'string' ? value : ''
}
