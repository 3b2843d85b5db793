/**
 * Versions of a channel's payload. Its schema describes the newest; an older one is converted step by step before validation. The
 * version is sent in a header, which outbox rows and dead letters keep.
 */

import { invalidOption, requireInteger, show, toError } from '../../core/errors.ts'
import { isThenable, requireFunction, wrongKind } from '../../core/option-checks.ts'
import { notAwaited } from '../../core/unawaited-callbacks.ts'
import { BinderError } from '../errors.ts'
import type { EncodedMessage, Headers } from './message.ts'

/** A whole number, absent for 1. */
export const VERSION_HEADER = 'payload-version'

/** Converts a decoded but unvalidated payload of one version to the next one. Synchronous; annotate the old type. */
export type Upcast = { upcast(old: unknown): unknown }['upcast']
/** Functions by version that convert its payload to the next one. */
export type Upcasts = Readonly<Record<number, Upcast>>

export interface Versions {
  readonly version?: number | undefined
  readonly upcasts?: Upcasts | undefined
}

/** Checks a channel's options about versions. @throws TypeError / RangeError naming the option */
export function resolveVersions(path: string, options: Versions): Versions {
  if (options.version === undefined && options.upcasts === undefined) return {}
  const version = requireInteger(`${path}.version`, options.version, 1, 1_000_000)
  const upcasts = options.upcasts ?? {}
  if (typeof upcasts !== 'object' || Array.isArray(upcasts))
    throw wrongKind(`${path}.upcasts`, upcasts, 'an object such as { 1: (old) => ... }')
  const from = Object.keys(upcasts).map((name) => checkUpcast(path, name, version, upcasts))
  for (let next = Math.min(version, ...from); next < version; next++) {
    if (!from.includes(next))
      throw invalidOption(`${path}.upcasts`, from, `one for ${next} as well: each makes the next version`)
  }
  return Object.freeze({ version, upcasts: Object.freeze({ ...upcasts }) })
}

function checkUpcast(path: string, name: string, version: number, upcasts: Upcasts): number {
  const from = Number(name)
  if (!Number.isSafeInteger(from) || from < 1 || from >= version)
    throw invalidOption(`${path}.upcasts`, name, `versions from 1 to ${version - 1}, those before \`version\``)
  requireFunction(`${path}.upcasts[${name}]`, upcasts[from])
  return from
}

/**
 * Adds the version of the channel's payload to the sender's headers. A version among these belongs to another payload: that of a
 * message whose headers were forwarded.
 */
export function withVersion(version: number | undefined, headers: Headers): Headers {
  if (version !== undefined && version !== 1) return { ...headers, [VERSION_HEADER]: version }
  if (headers[VERSION_HEADER] === undefined) return headers
  const { [VERSION_HEADER]: _, ...others } = headers
  return others
}

/** Converts the decoded payload to the channel's version. @throws `binder.payload_version` */
export function upcastPayload(
  channel: Versions & { readonly name: string },
  message: EncodedMessage,
  payload: unknown,
): unknown {
  const known = channel.version ?? 1
  const version = versionOf(channel.name, message)
  if (version > known)
    throw new BinderError('binder.payload_version', {
      channel: channel.name,
      version,
      problem: `this declaration knows ${known} and older: deploy the newer one${copiedFrom(channel.name, message)}`,
    })
  let value = payload
  for (let from = version; from < known; from++) value = upcastOnce(channel, version, from, value)
  return value
}

/**
 * Detects a program that forwards headers. A copied version cannot be distinguished from a mirror, which copies the payload, too.
 */
function copiedFrom(channel: string, { type }: EncodedMessage): string {
  if (type === channel) return ''
  return `, or, if a program made this message out of one of ${show(type)}, have it leave out the header ${VERSION_HEADER}`
}

function versionOf(channel: string, { headers }: EncodedMessage): number {
  const header = headers[VERSION_HEADER]
  if (header === undefined) return 1
  const version = typeof header === 'string' && /^\d{1,7}$/.test(header) ? Number(header) : header
  if (typeof version === 'number' && Number.isSafeInteger(version) && version >= 1) return version
  throw new BinderError('binder.payload_version', {
    channel,
    version: header,
    problem: `the header ${VERSION_HEADER} has to be a whole number from 1`,
  })
}

function upcastOnce(
  channel: Versions & { readonly name: string },
  version: number,
  from: number,
  payload: unknown,
): unknown {
  const upcast = channel.upcasts?.[from]
  if (upcast === undefined)
    throw new BinderError('binder.payload_version', {
      channel: channel.name,
      version,
      problem: `no upcast from ${from}: add it to \`upcasts\``,
    })
  let next: unknown
  try {
    next = upcast(payload)
  } catch (cause) {
    throw new BinderError(
      'binder.payload_version',
      { channel: channel.name, version, problem: `the upcast from ${from} failed: ${toError(cause).message}` },
      cause,
    )
  }
  if (!isThenable(next)) return next
  void notAwaited(next)
  throw new BinderError('binder.payload_version', {
    channel: channel.name,
    version,
    problem: `the upcast from ${from} returned a promise: make it synchronous`,
  })
}
