/**
 * A page over the operator API, as a Fetch handler for any server. It can do nothing that the operator cannot, and does nothing
 * that `authorize` does not allow.
 */
import type { ConsoleAction } from './access.ts'
import { deedOf } from './action-routes.ts'
import { CsrfTokens, checkHost, checkPost, checkSite, HEADERS, Pace } from './browser-protections.ts'
import { queryOf, readBody } from './input.ts'
import { type ConsoleOptions, type ResolvedConsole, resolveConsole } from './options.ts'
import { PageFiles } from './page-files.ts'
import { bodyOf, Problem, problemOf } from './problem.ts'
import { look, type Me } from './read-routes.ts'
import { LiveSnapshot } from './snapshot.ts'
import { Streams } from './stream.ts'

/** Serves the page and its API. */
export interface Console {
  /** Never rejects. */
  (request: Request): Promise<Response>
  /** Ends the streams, which would keep a server from closing. Later requests are still answered. */
  close(): Promise<void>
  [Symbol.asyncDispose](): Promise<void>
}

/** @throws TypeError / RangeError with the name of the option */
export function createConsole(options: ConsoleOptions): Console {
  const server = new ConsoleServer(resolveConsole(options))
  const close = (): Promise<void> => server.close()
  return Object.assign((request: Request) => server.handle(request), { close, [Symbol.asyncDispose]: close })
}

class ConsoleServer {
  readonly #console: ResolvedConsole
  readonly #page: PageFiles
  readonly #csrf: CsrfTokens
  readonly #pace = new Pace()
  readonly #streams: Streams

  constructor(resolved: ResolvedConsole) {
    this.#console = resolved
    this.#page = new PageFiles(resolved.page)
    this.#csrf = new CsrfTokens(resolved.secret)
    this.#streams = new Streams(new LiveSnapshot(resolved.backend, resolved.logger))
  }

  async close(): Promise<void> {
    this.#streams.close()
    await this.#console.backend.instances.close()
  }

  async handle(request: Request): Promise<Response> {
    try {
      checkHost(request, this.#console.allowedHosts)
      return await this.#route(request)
    } catch (error) {
      const problem = problemOf(error, this.#console.logger)
      const allow = problem.status === 405 ? { allow: 'GET' } : {}
      return Response.json(bodyOf(problem), { status: problem.status, headers: { ...HEADERS, ...allow } })
    }
  }

  #route(request: Request): Promise<Response> {
    const { basePath } = this.#console
    const { pathname } = new URL(request.url)
    if (`${pathname}/` === basePath && request.method === 'GET') return Promise.resolve(redirect(basePath))
    if (!pathname.startsWith(basePath)) throw new Problem(404, 'console.not_found', 'there is nothing here')
    const path = pathname.slice(basePath.length)
    if (path.startsWith('api/')) return this.#api(request, path.slice('api/'.length))
    return this.#file(request, path === '' ? 'index.html' : path)
  }

  async #file(request: Request, name: string): Promise<Response> {
    if (request.method !== 'GET') throw new Problem(405, 'console.read_only', 'expected GET')
    if (!this.#page.has(name)) throw new Problem(404, 'console.not_found', 'there is nothing here')
    const { access } = this.#console.backend
    // A session starts with the page, which contains no data. Without sessions, the page itself needs permission.
    if (this.#console.session === undefined) await access.require(request, 'view')
    return this.#page.read(name)
  }

  async #api(request: Request, name: string): Promise<Response> {
    checkSite(request)
    if (request.method === 'POST') return this.#post(request, name)
    if (request.method !== 'GET') throw new Problem(405, 'console.read_only', 'expected GET')
    const { backend } = this.#console
    const user = await backend.access.require(request, 'view')
    if (name === 'events') return this.#streams.open()
    if (name === 'me') return json(await this.#me(request, user))
    return json(await look(name, { backend, request, query: queryOf(request.url) }))
  }

  async #me(request: Request, user: string): Promise<Me> {
    const { backend, title } = this.#console
    const { access } = backend
    return { user, allow: await access.allowed(request), readOnly: access.isReadOnly, csrf: this.#csrf.of(user), title }
  }

  async #post(request: Request, name: string): Promise<Response> {
    const { backend, session, basePath } = this.#console
    if (backend.access.isReadOnly)
      throw new Problem(405, 'console.read_only', 'read-only: createConsole was given no `authorize`')
    checkPost(request)
    if (name === 'session' && session !== undefined) {
      const token = (await readBody(request)).text('token')
      try {
        return session.exchange(token, basePath)
      } catch (error) {
        // The right token is never limited: otherwise another program on this machine could lock out its owner.
        this.#pace.take('', backend.clock.monotonic())
        throw error
      }
    }
    const user = await backend.access.require(request, 'view')
    this.#csrf.check(request, user)
    this.#pace.take(user, backend.clock.monotonic())
    const fields = await readBody(request)
    const { action, target, asksEach, also, isDryRun, reason, run } = deedOf(name, backend, fields, request)
    if (also !== undefined) await backend.access.require(request, also.action, also.target)
    const by = await backend.access.require(request, action, asksEach ? undefined : target)
    const why = reason ?? fields.text('reason')
    const work = (): Promise<unknown> => run({ by, reason: why })
    return json(isDryRun ? await work() : await this.#told({ action, target, by, reason: why }, work))
  }

  /** The operator writes the audit in the database; the log and `onAction` receive the action as well. */
  async #told(
    said: { readonly action: ConsoleAction; readonly target: string; readonly by: string; readonly reason: string },
    work: () => Promise<unknown>,
  ): Promise<unknown> {
    const { onAction, logger } = this.#console
    try {
      const result = await work()
      logger.info({ ...said }, 'done from the console')
      onAction(said)
      return result
    } catch (error) {
      const failed = problemOf(error, logger).code
      logger.warn({ ...said, failed }, 'failed from the console')
      onAction({ ...said, failed })
      throw error
    }
  }
}

function json(value: unknown): Response {
  return Response.json(value ?? null, { headers: HEADERS })
}

/** Relative, because a proxy in front may use another prefix. */
function redirect(basePath: string): Response {
  const last = basePath.split('/').at(-2) ?? ''
  return new Response(null, { status: 308, headers: { ...HEADERS, location: `./${last}/` } })
}
