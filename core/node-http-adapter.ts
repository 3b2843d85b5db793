/**
 * Converts a Fetch handler to a listener of `node:http`, which Express and Nest accept as middleware and Fastify through `raw`.
 */
import type { IncomingMessage, ServerResponse } from 'node:http'
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import type { ReadableStream } from 'node:stream/web'

/** Responds to a request and never rejects: `toNode` serves it. */
export type FetchHandler = (request: Request) => Promise<Response>

/**
 * Responds to a request of `node:http`. @param body as read by a framework; Express passes its `next` here, which is not called
 */
export type NodeHandler = (request: IncomingMessage, response: ServerResponse, body?: unknown) => void

/** A request with the properties that Express and body parsers add. */
type Incoming = IncomingMessage & { readonly originalUrl?: string | undefined; readonly body?: unknown }

/**
 * For `http.createServer(toNode(handler))`, and `app.use(path, toNode(handler))` or `app.post` of Express. A body that a parser
 * has already read is used as the parser left it: bytes, text, or JSON. In Fastify: `reply.hijack(); node(request.raw, reply.raw,
 * request.body)`. Never throws: the response to an unreadable request is 400, and 500 if the handler rejects.
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
  // A proxy in front may have checked the other value.
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
  // The scheme has no effect, and the host is not trusted.
  return new Request(`http://${headers.host ?? 'invalid.invalid'}${path.startsWith('/') ? path : '/'}`, init)
}

/** A framework may have read it already. */
function bodyOf(incoming: Incoming, read: unknown): string | Uint8Array | ReadableStream {
  const body = read ?? (incoming.readableEnded ? incoming.body : undefined)
  if (body === undefined || body === null) return Readable.toWeb(incoming)
  return typeof body === 'string' || body instanceof Uint8Array ? body : JSON.stringify(body)
}

async function answer(response: Response, incoming: IncomingMessage, outgoing: ServerResponse): Promise<void> {
  for (const [name, value] of response.headers) outgoing.appendHeader(name, value)
  // Stops reading a body that no handler consumes.
  if (response.status >= 400 && !incoming.complete && incoming.httpVersionMajor === 1)
    outgoing.setHeader('connection', 'close')
  outgoing.writeHead(response.status)
  if (response.body === null) {
    outgoing.end()
    return
  }
  outgoing.flushHeaders()
  // A client that disconnects is no error.
  await pipeline(Readable.fromWeb(response.body as ReadableStream), outgoing).catch(() => outgoing.destroy())
}
