/** The same as a workflow of DBOS that puts a workflow of one step into a queue, three times; the queue is another process's. */
import { type DbosSdk, dbosConfig } from '../dbos-sdk.ts'
import { loadPeer } from '../peers.ts'
import { serve } from '../serve.ts'

const QUEUE = 'work'
/**
 * Poll interval. DBOS polls once a second by default, for work and for its end: three commands would take six seconds.
 */
const POLL_MS = 10

const [folder = '', url = '', connections = '', role = ''] = process.argv.slice(2)
const { DBOS } = loadPeer<DbosSdk>(folder, '@dbos-inc/dbos-sdk')
const work = DBOS.registerWorkflow((n: number) => DBOS.runStep(async () => n + 1, { name: 'work' }), { name: 'work' })
const ask = async (n: number): Promise<number> => {
  const handle = await DBOS.startWorkflow(work, { queueName: QUEUE })(n)
  return handle.getResult({ pollingIntervalMs: POLL_MS })
}
const three = DBOS.registerWorkflow(async () => ask(await ask(await ask(1))), { name: 'three' })
DBOS.setConfig({ ...dbosConfig(url, connections), listenQueues: role === 'asked' ? [QUEUE] : [] })
await DBOS.launch()
await DBOS.registerQueue(QUEUE, { minPollingIntervalMs: POLL_MS })

serve(async (id) => {
  const result = await DBOS.withNextWorkflowID(id, () => three())
  if (result !== 4) throw new Error(`workflow ${id}: ${result}`)
})
