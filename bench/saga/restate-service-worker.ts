/** The same as a handler of Restate that calls a service of one step three times; the service is another process's. */
import { loadPeer } from '../peers.ts'
import { serve } from '../serve.ts'
import { httpCaller } from './http-caller.ts'
import { type Context, offer, type Restate } from './restate-endpoint.ts'

interface Work {
  ask(n: number): Promise<number>
}

const [folder = '', admin = '', ingress = '', role = ''] = process.argv.slice(2)
const restate = loadPeer<Restate>(folder, '@restatedev/restate-sdk')
const work = restate.service({
  name: 'work',
  handlers: { ask: (context: Context, n: number) => context.run('work', async () => n + 1) },
})
const three = restate.service({
  name: 'three',
  handlers: {
    run: async (context: Context, n: number) => {
      const other = context.serviceClient<Work>({ name: 'work' })
      return other.ask(await other.ask(await other.ask(n)))
    },
  },
})
await offer(restate, role === 'asked' ? work : three, admin)

const call = httpCaller(ingress)
serve(async (id) => {
  const result = await call('/three/run', '1', { 'content-type': 'application/json', 'idempotency-key': id })
  if (result !== '4') throw new Error(`invocation ${id}: ${result}`)
})
