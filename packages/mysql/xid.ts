/** The names of transactions in XA: two parts of at most 64 bytes each. */
const PART_BYTES = 64

/** Prefix of the names of all transactions that an `xaParticipant` prepares. */
export const GID_PREFIX = 'concordat:'

/** The name of the gate of a transaction, which is the prefix of its own name: `concordat:<hash>:`. */
export function gateOf(gid: string): string {
  return gid.slice(0, gid.indexOf(':', GID_PREFIX.length) + 1)
}

/** @param gid one of our names: ASCII without a quote or a backslash, at most 128 characters */
export function xidOf(gid: string): string {
  if (!/^[\w:./~-]{1,128}$/.test(gid))
    throw new TypeError(`XA name ${JSON.stringify(gid)}: expected 1 to 128 of [A-Za-z0-9_:./~-]`)
  return `'${gid.slice(0, PART_BYTES)}','${gid.slice(PART_BYTES)}'`
}

/** A row of `XA RECOVER`. */
export interface RecoveredRow {
  readonly data: Uint8Array | string
}

export function gidOf({ data }: RecoveredRow): string {
  return typeof data === 'string' ? data : Buffer.from(data).toString('latin1')
}
