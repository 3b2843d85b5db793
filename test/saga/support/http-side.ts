/** A participant behind a server of `node:http`, and a client that asks it as a coordinator does. */

import { createServer, type RequestListener, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { Headers, SinkBinding } from 'concordat/binder'
import { toNode } from 'concordat/core'
import { type SagaReply } from 'concordat/saga'
import { httpParticipants } from 'concordat/saga/http'
import type { HttpParticipantsOptions } from '../../support/inside/saga.ts'

export interface Served {
  readonly url: string
  readonly server: Server
  close(): Promise<void>
}

/** Any server, on a port of its own. */
export async function serveNode(listener: RequestListener): Promise<Served> {
  const server = createServer(listener)
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as AddressInfo
  return {
    url: `http://127.0.0.1:${port}/saga`,
    server,
    close: async () => {
      server.closeAllConnections()
      await new Promise<void>((resolve) => server.close(() => resolve()))
    },
  }
}

export function serveParticipant(
  binding: SinkBinding,
  options: Partial<HttpParticipantsOptions> = {},
): Promise<Served> {
  return serveNode(toNode(httpParticipants([binding], { authorize: 'none', ...options })))
}

/** Sends a command with these headers. @returns the answer @throws when there is none */
export async function askByHttp({ url }: Pick<Served, 'url'>, payload: unknown, headers: Headers): Promise<SagaReply> {
  const response = await fetch(url, {
    method: 'POST',
    headers: {
      'content-type': 'application/json',
      ...Object.fromEntries(Object.entries(headers).map(([name, value]) => [name, String(value)])),
    },
    body: JSON.stringify(payload),
  })
  const body = await response.text()
  if (response.status !== 200) throw new Error(`${response.status} ${body}`)
  return JSON.parse(body) as SagaReply
}
