/** A certificate authority and its certificates, made by openssl for one test run. None of it needs to be secret. */
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
  /** Puts another certificate into the file of the server's, for the same key: one that expired an hour ago, or a good one. */
  renewServer(kind: 'expired' | 'good'): Promise<void>
  /** The same for clients. @returns its PEM */
  renewClient(kind: 'expired' | 'good'): Promise<string>
}

/** Configuration of `openssl ca`, the only command that signs for chosen times. */
const AUTHORITY = `[ca]
default_ca = own
[own]
database = index.txt
new_certs_dir = .
rand_serial = yes
default_md = sha256
policy = any
unique_subject = no
[any]
commonName = supplied
`

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
  const renew = async (name: string, kind: 'expired' | 'good'): Promise<void> => {
    const [from, to] = kind === 'good' ? [-1, 24] : [-3, -1]
    const dates = ['-startdate', hoursFromNow(from), '-enddate', hoursFromNow(to)]
    const signer = ['-config', 'ca.cnf', '-cert', 'ca.crt', '-keyfile', 'ca.key', '-extfile', `${name}.ext`]
    await run('ca', '-batch', '-notext', ...signer, ...dates, '-in', `${name}.csr`, '-out', `${name}.crt`)
  }
  writeFileSync(path('ca.cnf'), AUTHORITY)
  writeFileSync(path('index.txt'), '')
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
    renewServer: async (kind) => {
      await renew('server', kind)
      writeFileSync(path('server.pem'), read('server.key') + read('server.crt'))
    },
    renewClient: async (kind) => {
      await renew('client', kind)
      return read('client.crt')
    },
    [Symbol.asyncDispose]: () => rm(folder, { recursive: true, force: true }),
  }
}

/** Format of times in certificates: 20261122194500Z. */
function hoursFromNow(hours: number): string {
  const text = new Date(Date.now() + hours * 3_600_000).toISOString()
  return `${text.slice(0, 19).replaceAll(/[-:T]/g, '')}Z`
}
