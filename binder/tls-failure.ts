/** The codes of Node and OpenSSL for a certificate or handshake that was not accepted, by either side. */
const TLS_CODE =
  /^(ERR_TLS_|ERR_SSL_|EPROTO$|CERT_|CRL_|DEPTH_ZERO_|SELF_SIGNED_|UNABLE_TO_(VERIFY|GET_(ISSUER|CRL))|INVALID_(CA|PURPOSE)|HOSTNAME_MISMATCH)/

/** True when one of these errors says that TLS failed, not that nobody was there. */
export function isTlsFailure(errors: readonly unknown[]): boolean {
  return errors.some((error) => {
    const code = typeof error === 'object' && error !== null && 'code' in error ? error.code : undefined
    return typeof code === 'string' && TLS_CODE.test(code)
  })
}
