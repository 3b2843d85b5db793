/** An authority and what it signed, made by openssl for one test run. Nothing of it is worth keeping secret. */
import { execFile } from 'node:child_process'
import { mkdtempSync, readFileSync, writeFileSync } from 'node:fs'
import { rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { findBinary } from './binaries.ts'

export interface Certificates extends AsyncDisposable {
  /** PEM of the authority that signed both of the others. */
  readonly ca: string
  /** PEM of another authority, which signed nothing. */
  readonly otherCa: string
  /** For clients that the server wants to know. Its name (CN) is `guest`, RabbitMQ's user. */
  readonly client: { readonly cert: string; readonly key: string }
  /** Paths for a server at 127.0.0.1 and localhost; `keyAndCert` is one file with both. */
  readonly files: { readonly ca: string; readonly cert: string; readonly key: string; readonly keyAndCert: string }
}

/** @throws Error when there is no openssl */
export async function makeCertificates(): Promise<Certificates> {
  const openssl = findBinary('openssl')
  if (openssl === undefined)
    throw new Error('no openssl in PATH to make certificates (Debian: apt-get install openssl)')
  const folder = mkdtempSync(join(tmpdir(), 'concordat-tls-'))
  const path = (name: string): string => join(folder, name)
  const read = (name: string): string => readFileSync(path(name), 'utf8')
  const run = (...args: readonly string[]): Promise<unknown> => promisify(execFile)(openssl, args, { cwd: folder })
  const authority = (name: string): Promise<unknown> => {
    const files = ['-keyout', `${name}.key`, '-out', `${name}.crt`]
    return run('req', '-x509', '-newkey', 'rsa:2048', '-nodes', '-days', '2', '-subj', `/CN=${name}`, ...files)
  }
  const signed = async (name: string, extensions: string, commonName: string = name): Promise<void> => {
    writeFileSync(path(`${name}.ext`), extensions)
    const files = ['-keyout', `${name}.key`, '-out', `${name}.csr`]
    await run('req', '-newkey', 'rsa:2048', '-nodes', '-subj', `/CN=${commonName}`, ...files)
    const signer = ['-CA', 'ca.crt', '-CAkey', 'ca.key', '-CAcreateserial', '-extfile', `${name}.ext`]
    await run('x509', '-req', '-in', `${name}.csr`, '-days', '2', '-out', `${name}.crt`, ...signer)
  }
  await Promise.all([authority('ca'), authority('other')])
  await signed('server', 'subjectAltName=IP:127.0.0.1,DNS:localhost\nextendedKeyUsage=serverAuth,clientAuth\n')
  await signed('client', 'extendedKeyUsage=clientAuth\n', 'guest')
  writeFileSync(path('server.pem'), read('server.key') + read('server.crt'))
  return {
    ca: read('ca.crt'),
    otherCa: read('other.crt'),
    client: { cert: read('client.crt'), key: read('client.key') },
    files: {
      ca: path('ca.crt'),
      cert: path('server.crt'),
      key: path('server.key'),
      keyAndCert: path('server.pem'),
    },
    [Symbol.asyncDispose]: () => rm(folder, { recursive: true, force: true }),
  }
}
