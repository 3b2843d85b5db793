/** The same three steps as a Restate handler: its endpoint, and the client that calls it through the server's ingress. */
import { loadPeer } from '../peers.ts'
import { serve } from '../serve.ts'
import { httpCaller } from './http-caller.ts'
import { type Context, offer, type Restate } from './restate-endpoint.ts'

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
await offer(restate, three, admin)

const call = httpCaller(ingress)
serve(async (id) => {
  const result = await call('/three/run', '1', { 'content-type': 'application/json', 'idempotency-key': id })
  if (result !== '4') throw new Error(`invocation ${id}: ${result}`)
})
