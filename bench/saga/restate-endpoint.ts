/** An endpoint of Restate in this process, known to the server. */
import { once } from 'node:events'
import { createServer, type Http2ServerRequest, type Http2ServerResponse } from 'node:http2'
import type { AddressInfo } from 'node:net'

/** The part of `@restatedev/restate-sdk` that the bench uses. */
export interface Restate {
  service<Handlers extends Readonly<Record<string, Handler>>>(definition: {
    readonly name: string
    readonly handlers: Handlers
  }): object
  createEndpointHandler(options: {
    readonly services: readonly object[]
    readonly logger: () => void
  }): (request: Http2ServerRequest, response: Http2ServerResponse) => void
}

type Handler = (context: Context, n: number) => Promise<number>

export interface Context {
  run<T>(name: string, work: () => Promise<T>): Promise<T>
  serviceClient<Client>(service: { readonly name: string }): Client
}

/** @param admin where the server is told */
export async function offer(restate: Restate, service: object, admin: string): Promise<void> {
  const endpoint = createServer(restate.createEndpointHandler({ services: [service], logger: () => {} }))
  endpoint.listen(0, '127.0.0.1')
  await once(endpoint, 'listening')
  const { port } = endpoint.address() as AddressInfo
  const registered = await fetch(`${admin}/deployments`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ uri: `http://127.0.0.1:${port}` }),
  })
  if (!registered.ok) throw new Error(`Restate did not take the deployment: ${await registered.text()}`)
}
