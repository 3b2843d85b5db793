/** The same three steps as a Restate handler: its endpoint, and the client that calls it through the server's ingress. */
import { once } from 'node:events'
import { createServer, type Http2ServerRequest, type Http2ServerResponse } from 'node:http2'
import type { AddressInfo } from 'node:net'
import { loadPeer } from '../peers.ts'
import { serve } from '../serve.ts'
import { httpCaller } from './http-caller.ts'

/** What is used of `@restatedev/restate-sdk`. */
interface Restate {
  service(definition: {
    readonly name: string
    readonly handlers: { readonly run: (context: Context, n: number) => Promise<number> }
  }): object
  createEndpointHandler(options: {
    readonly services: readonly object[]
    readonly logger: () => void
  }): (request: Http2ServerRequest, response: Http2ServerResponse) => void
}

interface Context {
  run<T>(name: string, work: () => Promise<T>): Promise<T>
}

const [folder = '', admin = '', ingress = ''] = process.argv.slice(2)
const restate = loadPeer<Restate>(folder, '@restatedev/restate-sdk')
const step = (context: Context, name: string, n: number): Promise<number> => context.run(name, async () => n + 1)
const three = restate.service({
  name: 'three',
  handlers: {
    run: async (context, n) => {
      const first = await step(context, 'first', n)
      const second = await step(context, 'second', first)
      return step(context, 'third', second)
    },
  },
})
const endpoint = createServer(restate.createEndpointHandler({ services: [three], logger: () => {} }))
endpoint.listen(0, '127.0.0.1')
await once(endpoint, 'listening')
const { port } = endpoint.address() as AddressInfo
const registered = await fetch(`${admin}/deployments`, {
  method: 'POST',
  headers: { 'content-type': 'application/json' },
  body: JSON.stringify({ uri: `http://127.0.0.1:${port}` }),
})
if (!registered.ok) throw new Error(`Restate did not take the deployment: ${await registered.text()}`)

const call = httpCaller(ingress)
serve(async (id) => {
  const result = await call('/three/run', '1', { 'content-type': 'application/json', 'idempotency-key': id })
  if (result !== '4') throw new Error(`invocation ${id}: ${result}`)
})
