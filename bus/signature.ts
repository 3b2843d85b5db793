import { createHmac, timingSafeEqual } from 'node:crypto'
import { invalidOption } from '../core/errors.ts'

/** Less than 256 bits would be the weakest part of HMAC-SHA256. */
const MIN_SECRET_BYTES = 32
const MAX_SECRETS = 8

export type Verdict = 'genuine' | 'unsigned' | 'forged'

/**
 * Returns the bytes to sign: each field and then the body as `<length in bytes>:<bytes>,`, so that no two messages have the same
 * form, whatever their fields contain.
 * @see https://cr.yp.to/proto/netstrings.txt
 */
export function canonicalForm(fields: readonly string[], body: Uint8Array): Buffer {
  const parts: Uint8Array[] = []
  for (const field of [...fields.map((text) => Buffer.from(text)), body]) {
    parts.push(Buffer.from(`${field.byteLength}:`), field, COMMA)
  }
  return Buffer.concat(parts)
}

const COMMA = Buffer.from(',')

/** Signs with the first secret, accepts any. Without secrets it signs nothing and accepts everything. */
export class Signer {
  readonly #secrets: readonly Buffer[]
  readonly #domain: readonly string[]

  /** @param channel part of the signature, so that signatures for one bus are invalid on another with the same secret */
  constructor(secrets: readonly Buffer[], channel: string) {
    this.#secrets = secrets
    this.#domain = ['concordat-bus-1', channel]
  }

  get isOn(): boolean {
    return this.#secrets.length > 0
  }

  sign(fields: readonly string[], body: Uint8Array): string | undefined {
    const [secret] = this.#secrets
    return secret === undefined ? undefined : this.#digest(secret, fields, body).toString('hex')
  }

  check(fields: readonly string[], body: Uint8Array, signature: string | undefined): Verdict {
    if (!this.isOn) return 'genuine'
    if (signature === undefined) return 'unsigned'
    if (!/^[0-9a-f]{64}$/.test(signature)) return 'forged'
    const given = Buffer.from(signature, 'hex')
    const isGenuine = this.#secrets.some((secret) => timingSafeEqual(this.#digest(secret, fields, body), given))
    return isGenuine ? 'genuine' : 'forged'
  }

  #digest(secret: Buffer, fields: readonly string[], body: Uint8Array): Buffer {
    return createHmac('sha256', secret)
      .update(canonicalForm([...this.#domain, ...fields], body))
      .digest()
  }
}

/** Errors contain the length of a secret, never its text. @throws TypeError / RangeError naming the option */
export function resolveSecrets(path: string, secret: unknown): readonly Buffer[] {
  if (secret === undefined) return []
  const list: readonly unknown[] = Array.isArray(secret) ? secret : [secret]
  if (list.length === 0 || list.length > MAX_SECRETS)
    throw invalidOption(path, list.length, `1 to ${MAX_SECRETS} secrets, the one to sign with first`)
  return list.map((each, i) => {
    const name = Array.isArray(secret) ? `${path}[${i}]` : path
    if (typeof each !== 'string') throw new TypeError(`${name}: expected text, got a ${typeof each}`)
    const bytes = Buffer.from(each)
    if (bytes.byteLength >= MIN_SECRET_BYTES) return bytes
    throw new RangeError(
      `${name}: expected at least ${MIN_SECRET_BYTES} bytes, got ${bytes.byteLength}: make one with "openssl rand -hex 32"`,
    )
  })
}
