/**
 * Random numbers for code of a world, from its seed. Other code gets real ones; calls with invalid arguments are passed on to
 * Node, which refuses them.
 */
import nodeCrypto from 'node:crypto'
import { type Surroundings, surroundingsHere } from '../current-process.ts'
import { type Restore, replace } from './replace.ts'

type Buffers = ArrayBufferView | ArrayBuffer
type Filled<T = Buffers> = (error: Error | null, filled: T) => void
type Drawn = (error: Error | null, drawn: number) => void

export function replacedRandomness(): Restore[] {
  const realRandom = Math.random
  const uuid = uuidOr(nodeCrypto.randomUUID)
  const bytes = bytesOr(nodeCrypto.randomBytes)
  return [
    replace(Math, 'random', () => surroundingsHere()?.stream.next() ?? realRandom()),
    replace(crypto, 'getRandomValues', valuesOr(crypto.getRandomValues.bind(crypto))),
    replace(crypto, 'randomUUID', uuid),
    replace(nodeCrypto, 'randomUUID', uuid),
    ...replacedUuid7(),
    replace(nodeCrypto, 'randomFillSync', fillSyncOr(nodeCrypto.randomFillSync)),
    replace(nodeCrypto, 'randomFill', fillOr(nodeCrypto.randomFill, nodeCrypto.randomFillSync)),
    replace(nodeCrypto, 'randomBytes', bytes),
    replace(nodeCrypto, 'pseudoRandomBytes', bytes),
    replace(nodeCrypto, 'randomInt', integerOr(nodeCrypto.randomInt)),
  ]
}

function valuesOr(real: typeof crypto.getRandomValues) {
  return <T extends NodeJS.TypedArray>(view: T): T => {
    const here = surroundingsHere()
    real(view as never)
    return here === undefined ? view : filled(here, view)
  }
}

function uuidOr(real: typeof nodeCrypto.randomUUID) {
  return (...args: Parameters<typeof real>): string => {
    const here = surroundingsHere()
    return here === undefined ? real(...args) : uuidOf(filled(here, Buffer.alloc(16)))
  }
}

/** Exists since Node 26. */
function replacedUuid7(): Restore[] {
  const { randomUUIDv7: real } = nodeCrypto as { readonly randomUUIDv7?: (...args: unknown[]) => string }
  if (real === undefined) return []
  const uuid = (...args: unknown[]): string => {
    const here = surroundingsHere()
    if (here === undefined) return real(...args)
    const bytes = filled(here, Buffer.alloc(16))
    bytes.writeUIntBE(Date.now(), 0, 6)
    return uuidOf(bytes, 7)
  }
  return [replace(nodeCrypto, 'randomUUIDv7', uuid)]
}

function fillSyncOr(real: typeof nodeCrypto.randomFillSync) {
  return <T extends Buffers>(view: T, offset?: number, size?: number): T => {
    const here = surroundingsHere()
    real(view as never, offset, size)
    return here === undefined ? view : filled(here, view, offset, size)
  }
}

function fillOr(real: typeof nodeCrypto.randomFill, check: typeof nodeCrypto.randomFillSync) {
  return (view: Buffers, ...rest: [...numbers: number[], callback: Filled]): void => {
    const here = surroundingsHere()
    const callback = rest.at(-1)
    if (here === undefined || typeof callback !== 'function')
      return (real as (...args: unknown[]) => void)(view, ...rest)
    const [offset, size] = rest.slice(0, -1) as number[]
    check(view as never, offset, size)
    filled(here, view, offset, size)
    queueMicrotask(() => callback(null, view))
  }
}

function bytesOr(real: typeof nodeCrypto.randomBytes) {
  return (size: number, callback?: Filled<Buffer>): Buffer | void => {
    const here = surroundingsHere()
    if (here === undefined) return callback === undefined ? real(size) : real(size, callback)
    const drawn = filled(here, real(size))
    if (callback === undefined) return drawn
    queueMicrotask(() => callback(null, drawn))
  }
}

function integerOr(real: typeof nodeCrypto.randomInt) {
  return (...args: [...bounds: number[], last: number | Drawn]): number | void => {
    const here = surroundingsHere()
    if (here === undefined) return real(...(args as [number, number, Drawn]))
    const callback = args.at(-1)
    const bounds = (typeof callback === 'function' ? args.slice(0, -1) : args) as [number, number]
    real(...bounds)
    const [min, max] = bounds[1] === undefined ? [0, bounds[0]] : bounds
    const x = here.stream.next() + here.stream.next() / 2 ** 32
    const drawn = Math.min(max - 1, min + Math.floor((max - min) * x))
    if (typeof callback !== 'function') return drawn
    queueMicrotask(() => callback(null, drawn))
  }
}

/** @param offset in elements, like `size` */
function filled<T extends Buffers>(here: Surroundings, view: T, offset = 0, size?: number): T {
  const all = ArrayBuffer.isView(view)
    ? new Uint8Array(view.buffer, view.byteOffset, view.byteLength)
    : new Uint8Array(view)
  const width = 'BYTES_PER_ELEMENT' in view ? (view.BYTES_PER_ELEMENT as number) : 1
  here.stream.fill(all.subarray(offset * width, size === undefined ? undefined : (offset + size) * width))
  return view
}

/** @see RFC 9562 sections 5.4 and 5.7 */
function uuidOf(bytes: Buffer, version: 4 | 7 = 4): string {
  bytes[6] = ((bytes[6] ?? 0) & 0x0f) | (version << 4)
  bytes[8] = ((bytes[8] ?? 0) & 0x3f) | 0x80
  const hex = bytes.toString('hex')
  return [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20), hex.slice(20)].join('-')
}
