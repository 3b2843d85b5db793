/** A Fetch handler as a listener of `node:http`, which Express and Nest take as middleware and Fastify's `raw` fits. */
import type { IncomingMessage, ServerResponse } from 'node:http'
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import type { ReadableStream } from 'node:stream/web'

/** Answers a request, and never rejects: what `toNode` serves. */
export type FetchHandler = (request: Request) => Promise<Response>

/** Answers a request of `node:http`. @param body as a framework has read it; what Express gives here is its `next`, which is not called */
export type NodeHandler = (request: IncomingMessage, response: ServerResponse, body?: unknown) => void

/** A request with the properties that Express and body parsers add. */
type Incoming = IncomingMessage & { readonly originalUrl?: string | undefined; readonly body?: unknown }

/**
 * For `http.createServer(toNode(handler))` and `app.use(path, toNode(handler))` or `app.post` of Express. A body that a parser has
 * read before it is taken as it left it: bytes, text, or JSON. In Fastify: `reply.hijack(); node(request.raw, reply.raw, request.body)`.
 * Never throws: a request that cannot be read is answered 400, and a handler that rejects all the same 500.
 */
export function toNode(handler: FetchHandler): NodeHandler {
  return (incoming, outgoing, body) =>
    void serve(handler, incoming, outgoing, typeof body === 'function' ? undefined : body)
}

async function serve(
  handler: FetchHandler,
  incoming: IncomingMessage,
  outgoing: ServerResponse,
  body: unknown,
): Promise<void> {
  let status = 400
  try {
    const request = requestOf(incoming, body)
    status = 500
    await answer(await handler(request), incoming, outgoing)
  } catch {
    if (outgoing.headersSent) outgoing.destroy()
    else outgoing.writeHead(status, { 'content-type': 'text/plain' }).end('this request cannot be answered\n')
  }
}

function requestOf(incoming: Incoming, read: unknown): Request {
  const { method = 'GET', headers, originalUrl, url = '/' } = incoming
  // Requests of HTTP/2 have no such list.
  const distinct: NodeJS.Dict<string[]> | undefined = incoming.headersDistinct
  // A proxy in front may have looked at the other one.
  if ((distinct?.['host']?.length ?? 0) > 1) throw new TypeError('expected one Host header')
  const path = originalUrl ?? url
  const given = new Headers()
  for (const [name, values = []] of Object.entries(distinct ?? headers)) {
    if (name.startsWith(':')) continue
    for (const value of [values].flat()) given.append(name, value)
  }
  const hasBody = method !== 'GET' && method !== 'HEAD'
  const init: RequestInit = { method, headers: given }
  if (hasBody) Object.assign(init, { body: bodyOf(incoming, read), duplex: 'half' })
  // The scheme decides nothing, and the host is a stranger's word.
  return new Request(`http://${headers.host ?? 'invalid.invalid'}${path.startsWith('/') ? path : '/'}`, init)
}

/** A framework may have read it before us. */
function bodyOf(incoming: Incoming, read: unknown): string | Uint8Array | ReadableStream {
  const body = read ?? (incoming.readableEnded ? incoming.body : undefined)
  if (body === undefined || body === null) return Readable.toWeb(incoming)
  return typeof body === 'string' || body instanceof Uint8Array ? body : JSON.stringify(body)
}

async function answer(response: Response, incoming: IncomingMessage, outgoing: ServerResponse): Promise<void> {
  for (const [name, value] of response.headers) outgoing.appendHeader(name, value)
  // Stop reading a body that no handler consumes.
  if (response.status >= 400 && !incoming.complete && incoming.httpVersionMajor === 1)
    outgoing.setHeader('connection', 'close')
  outgoing.writeHead(response.status)
  if (response.body === null) {
    outgoing.end()
    return
  }
  outgoing.flushHeaders()
  // The reader going away is no fault.
  await pipeline(Readable.fromWeb(response.body as ReadableStream), outgoing).catch(() => outgoing.destroy())
}
