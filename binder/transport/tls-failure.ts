/** The codes of Node and OpenSSL for a certificate or handshake that was not accepted, by either side. */
const TLS_CODE =
  /^(ERR_TLS_|ERR_SSL_|EPROTO$|CERT_|CRL_|DEPTH_ZERO_|SELF_SIGNED_|UNABLE_TO_(VERIFY|GET_(ISSUER|CRL))|INVALID_(CA|PURPOSE)|HOSTNAME_MISMATCH)/

/** How OpenSSL begins its messages; kafkajs keeps nothing else of such an error. */
const OPENSSL_TEXT = /error:[0-9A-F]{8}:/

/** Node's words; kafkajs keeps nothing else of such an error. */
const ENDED_TEXT = 'disconnected before secure TLS connection was established'

/** True when the other side went away in the middle of the handshake: it is down, or the port speaks no TLS. */
export function hasEndedBeforeTls(errors: readonly unknown[]): boolean {
  return errors.some((error) => error instanceof Error && error.message.includes(ENDED_TEXT))
}

/** True when one of these errors says that TLS failed, rather than that the server was unreachable. */
export function isTlsFailure(errors: readonly unknown[]): boolean {
  return errors.some((error) => {
    if (typeof error !== 'object' || error === null) return false
    const { code, message } = error as { readonly code?: unknown; readonly message?: unknown }
    const isText = typeof message === 'string' && OPENSSL_TEXT.test(message)
    return isText || (typeof code === 'string' && TLS_CODE.test(code))
  })
}
