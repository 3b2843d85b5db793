/** `console`: serves the page of `@concordat/console`. */
import { once } from 'node:events'
import { readFile } from 'node:fs/promises'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { stderrLogger, toNode } from 'concordat/core'
import {
  ACTION_OPTIONS,
  BROKER_OPTIONS,
  type Command,
  DATABASE_OPTIONS,
  type Invocation,
  REDIS_OPTIONS,
  RESOURCE_OPTIONS,
  UsageError,
  type Values,
} from './command.ts'
import { declarationsOf } from './group-arguments.ts'
import { installed } from './optional-package.ts'
import { MODULE } from './read-declarations.ts'
import { flag, none, readWhole, text, texts } from './values.ts'

const LOOPBACK = /^(?:localhost|127(?:\.\d{1,3}){3}|::1)$/
const PORT = '4180'

const console: Command = {
  name: 'console',
  summary: 'serves a page that shows and settles all of this, until Ctrl-C; the address that it prints works once',
  takes: `[${MODULE}]`,
  options: {
    port: { type: 'string', hint: 'PORT', about: `0 for any that is free (default: ${PORT})` },
    host: {
      type: 'string',
      hint: 'ADDRESS',
      about: 'where to listen (default: 127.0.0.1); another needs --token-file',
    },
    'allowed-host': {
      type: 'string',
      multiple: true,
      hint: 'NAME',
      about: 'a name under which it is reached; repeat it',
    },
    'token-file': { type: 'string', hint: 'FILE', about: 'holds the token that everybody signs in with' },
    'read-only': { type: 'boolean', about: 'does nothing; shows everything but dead letters, which are counted' },
    payloads: { type: 'boolean', about: 'may show payloads; each look is kept in the audit' },
    cluster: { type: 'string', multiple: true, hint: 'NAME', about: 'shows its members; repeat it' },
    'bus-channel': {
      type: 'string',
      hint: 'NAME',
      about: 'of the bus over which instances say what they do (default: concordat.bus)',
    },
    title: { type: 'string', hint: 'TEXT', about: 'shown above, such as the environment' },
    by: ACTION_OPTIONS['by'] as NonNullable<(typeof ACTION_OPTIONS)[string]>,
    ...DATABASE_OPTIONS,
    ...BROKER_OPTIONS,
    ...REDIS_OPTIONS,
    ...RESOURCE_OPTIONS,
  },
  examples: ['npx concordat console', 'npx concordat console concordat.config.ts --read-only --port 0'],
  run: serve,
}

export const CONSOLE_COMMANDS: readonly Command[] = [console]

async function serve(invocation: Invocation) {
  const { values, positionals, env, user, print, stop } = invocation
  const [module, ...rest] = positionals
  none(rest)
  const { createConsole, oneTimeSession } = await installed('@concordat/console', import('@concordat/console'))
  const place = await placeOf(values)
  const operator = await invocation.operator({ bus: { channel: text(values, 'bus-channel') } })
  const services = (await declarationsOf(module))?.services ?? []
  const isReadOnly = flag(values, 'read-only')
  const server = createServer()
  const port = await listening(server, place)
  const session = oneTimeSession({
    user: text(values, 'by') || env['CONCORDAT_BY'] || user,
    cookie: `concordat-console-${port}`,
    allow: (action) => (action === 'payloads' ? flag(values, 'payloads') : !isReadOnly),
    token: place.token,
  })
  const page = createConsole({
    operator,
    session,
    allowedHosts: place.allowedHosts,
    services,
    clusters: texts(values, 'cluster') ?? [],
    title: text(values, 'title'),
    logger: stderrLogger,
  })
  server.on('request', toNode(page))
  // The user's own token is in its file, so it is not printed.
  const url = `http://${place.shown}:${port}/#token=${place.token === undefined ? session.token : '...'}`
  await print(flag(values, 'json') ? `${JSON.stringify({ url, readOnly: isReadOnly })}\n` : `${url}\n${hint(place)}\n`)
  if (!stop.aborted) await once(stop, 'abort')
  await page.close()
  server.closeAllConnections()
  server.close()
  return { text: '', json: undefined }
}

function hint({ token, isLoopback }: ConsoleAddress): string {
  if (isLoopback) return token === undefined ? 'It works once, in one browser. Ctrl-C ends it.' : 'Ctrl-C ends it.'
  return 'Others can read what goes by here: put TLS in front of it. Ctrl-C ends it.'
}

interface ConsoleAddress {
  readonly host: string
  /** The host as written in an address. */
  readonly shown: string
  readonly port: number
  readonly isLoopback: boolean
  readonly allowedHosts: readonly string[]
  readonly token: string | undefined
}

/**
 * @throws UsageError for an address that others can reach, without a token of the user
 */
async function placeOf(values: Values): Promise<ConsoleAddress> {
  const host = text(values, 'host') ?? '127.0.0.1'
  const port = readWhole('--port', text(values, 'port') ?? PORT)
  if (port > 65_535) throw new UsageError(`--port: expected at most 65535, got ${port}`)
  const file = text(values, 'token-file')
  const allowedHosts = texts(values, 'allowed-host') ?? []
  const isLoopback = LOOPBACK.test(host)
  if (!isLoopback && (file === undefined || allowedHosts.length === 0))
    throw new UsageError(
      `--host ${host} is reached by others: give --token-file FILE as well, and --allowed-host NAME as they will call it`,
    )
  const token = file === undefined ? undefined : await tokenIn(file)
  const shown = allowedHosts[0] ?? (host.includes(':') ? `[${host}]` : host)
  const own = isLoopback ? [host.includes(':') ? `[${host}]` : host] : []
  return { host, shown, port, isLoopback, allowedHosts: [...allowedHosts, ...own], token }
}

async function tokenIn(file: string): Promise<string> {
  const token = await readFile(file, 'utf8').then(
    (content) => content.trim(),
    () => {
      throw new UsageError(`--token-file: ${file} cannot be read`)
    },
  )
  if (/^[\w-]{32,200}$/.test(token)) return token
  throw new UsageError('--token-file: expected 32 to 200 letters, digits, "-" or "_": openssl rand -hex 32 makes them')
}

/** @returns the port */
async function listening(server: Server, { host, port }: ConsoleAddress): Promise<number> {
  server.listen(port, host)
  try {
    await once(server, 'listening')
    return (server.address() as AddressInfo).port
  } catch (error) {
    const { code } = error as { readonly code?: unknown }
    if (code === 'EADDRINUSE')
      throw new UsageError(`--port ${port}: something listens there already; give another, or 0`)
    if (code === 'EADDRNOTAVAIL' || code === 'EACCES')
      throw new UsageError(`--host ${host} --port ${port}: ${String(code)}`)
    throw error
  }
}
