/**
 * Requests of an instance's code to the process itself, to which the world cannot respond. The world's time stands still during
 * such a request, so its result would arrive at a moment of the history that no seed determines.
 *
 * - A *job* of a thread of this process (a file, a hash, a compression) has an end: the world waits for it.
 * - Anything *outside* of this process (a connection, an address, another process) fails the history.
 * - For the *rest* (a timer of the process itself, a port, a worker) it is unknown whether code waits for it: code that writes a
 *   log also has such resources. They are reported when a history stands still.
 *
 * Node's async hooks report the start of each, and the code that started it. `process.getActiveResourcesInfo()` reports neither
 * that nor hashes.
 */
import { createHook } from 'node:async_hooks'
import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import { surroundingsHere } from '../current-process.ts'
import { type Restore, replace } from './replace.ts'

/** Something that was started and has not called back. */
export interface RealWait {
  /** The instance. */
  readonly who: string
  /** Node's name for it: `FSREQPROMISE`, `fetch`. */
  readonly kind: string
}

interface Begun extends RealWait {
  readonly resource: object
}

const OUTSIDE: ReadonlySet<string> = new Set([
  'TCPCONNECTWRAP',
  'PIPECONNECTWRAP',
  'HTTPCLIENTREQUEST',
  'GETADDRINFOREQWRAP',
  'GETNAMEINFOREQWRAP',
  'QUERYWRAP',
  'PROCESSWRAP',
])
const REST: ReadonlySet<string> = new Set(['Timeout', 'MESSAGEPORT', 'WORKER', 'FSEVENTWRAP', 'STATWATCHER', 'UDPWRAP'])
/** Channel on which `fetch` reports each request, including those over an existing connection. */
const FETCHES = 'undici:request:create'
/** Exists as long as parts are compressed. */
const COMPRESSION = 'ZLIB'

const begun = new Map<number, Begun>()
/** Web Crypto jobs, which hooks cannot distinguish from synchronous ones. */
const promised = new Set<RealWait>()

/** @returns a function that ends it */
export function watchRealWaits(): Restore[] {
  return [watchHooks(), watchFetch(), ...watchedSubtle()]
}

function watchFetch(): Restore {
  const onFetch = (): void => surroundingsHere()?.onOutside?.('fetch')
  subscribe(FETCHES, onFetch)
  return () => void unsubscribe(FETCHES, onFetch)
}

function watchHooks(): Restore {
  const hook = createHook({
    init(id, kind, _, resource) {
      if (!REST.has(kind) && !OUTSIDE.has(kind) && !isOfThread(kind)) return
      const here = surroundingsHere()
      if (here?.name === undefined) return
      if (OUTSIDE.has(kind)) here.onOutside?.(kind)
      else begun.set(id, { who: here.name, kind, resource })
    },
    before(id) {
      if (begun.size > 0 && begun.get(id)?.kind !== COMPRESSION) begun.delete(id)
    },
    trackPromises: false,
  })
  hook.enable()
  return () => {
    hook.disable()
    forgetRealWaits()
  }
}

function watchedSubtle(): Restore[] {
  const methods = SubtleCrypto.prototype as unknown as Record<string, (...given: unknown[]) => PromiseLike<unknown>>
  const names = Object.getOwnPropertyNames(methods).filter((name) => name !== 'constructor')
  return names.map((name) => {
    const real = methods[name] as (typeof methods)[string]
    return replace(methods, name, function (this: unknown, ...given: unknown[]): PromiseLike<unknown> {
      const result = real.apply(this, given)
      const who = surroundingsHere()?.name
      if (who !== undefined) keep({ who, kind: `crypto.subtle.${name}` }, result)
      return result
    })
  })
}

function keep(wait: RealWait, result: PromiseLike<unknown>): void {
  const end = (): void => void promised.delete(wait)
  promised.add(wait)
  result.then(end, end)
}

/** Forgets requests of an earlier history. */
export function forgetRealWaits(): void {
  begun.clear()
  promised.clear()
}

/** A job that a thread of this process is working on, if any. */
export function jobUnderWay(): RealWait | undefined {
  for (const each of promised) return each
  for (const [id, each] of begun) {
    if (!isOfThread(each.kind)) continue
    if (isUnderWay(each)) return each
    if (each.kind !== COMPRESSION) begun.delete(id)
  }
  return undefined
}

/** Requests that code may wait for. */
export function possibleWaits(): readonly RealWait[] {
  return [...begun.values()].filter(({ kind, resource }) => REST.has(kind) && !isEnded(resource))
}

function isOfThread(kind: string): boolean {
  return (
    kind.startsWith('FSREQ') ||
    kind === 'FILEHANDLECLOSEREQ' ||
    kind === COMPRESSION ||
    (kind.endsWith('REQUEST') && kind !== 'HTTPCLIENTREQUEST')
  )
}

/** Hashes and compressions may also run synchronously in the calling thread. An asynchronous one has stored its callback. */
function isUnderWay({ kind, resource }: Begun): boolean {
  const { ondone, buffer } = resource as { readonly ondone?: unknown; readonly buffer?: unknown }
  if (kind === COMPRESSION) return buffer !== undefined && buffer !== null
  return !kind.endsWith('REQUEST') || typeof ondone === 'function'
}

/** A timer that was cleared. */
function isEnded(resource: object): boolean {
  return '_destroyed' in resource && resource._destroyed === true
}
