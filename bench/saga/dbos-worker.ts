/** The same three steps as a DBOS workflow, on a database of the same server. */
import { type DbosSdk, dbosConfig } from '../dbos-sdk.ts'
import { loadPeer } from '../peers.ts'
import { serve } from '../serve.ts'

const [folder = '', url = '', connections = ''] = process.argv.slice(2)
const { DBOS } = loadPeer<DbosSdk>(folder, '@dbos-inc/dbos-sdk')
const step = (name: string, n: number): Promise<number> => DBOS.runStep(async () => n + 1, { name })
const three = DBOS.registerWorkflow(
  async (n: number) => {
    const first = await step('first', n)
    const second = await step('second', first)
    return step('third', second)
  },
  { name: 'three' },
)
DBOS.setConfig(dbosConfig(url, connections))
await DBOS.launch()

serve(async (id) => {
  const result = await DBOS.withNextWorkflowID(id, () => three(1))
  if (result !== 4) throw new Error(`workflow ${id}: ${result}`)
})
