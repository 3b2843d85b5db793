/** Sides that call another process three times: two processes each, all on the same machine. */
import { cpuUsOfTree } from '../cpu.ts'
import { providePeer } from '../peers.ts'
import type { Worker } from '../processes.ts'
import type { SideReport } from '../serve.ts'
import { startRestate } from './restate-server.ts'
import { type Bed, CONCURRENCY, CONNECTIONS, countedOn, DBOS, RESTATE, ranBy, type Side, started } from './sides.ts'

/** Each service has a database of its own; over PostgreSQL the messages have a third one. */
export async function askingSide({ postgres, stack }: Bed, rabbitmq: string | undefined): Promise<Side> {
  const [shop, work] = [await postgres.database('shop'), await postgres.database('work')]
  const broker = rabbitmq ?? (await postgres.database('messages'))
  const databases = ['shop', 'work', ...(rabbitmq === undefined ? ['messages'] : [])]
  const asked = await started(stack, './asked-worker.ts', [work, broker, CONNECTIONS, CONCURRENCY])
  const asking = await started(stack, './asking-worker.ts', [shop, broker, CONNECTIONS, CONCURRENCY])
  return { ...twoProcesses(asking, asked), name: 'concordat', ...countedOn(postgres, databases) }
}

/** @throws PeerUnavailable */
export async function dbosQueueSide({ postgres, stack, progress }: Bed): Promise<Side> {
  const packages = await providePeer('dbos', DBOS, progress)
  const url = await postgres.database('dbos')
  const asked = await started(stack, './dbos-queue-worker.ts', [packages, url, CONNECTIONS, 'asked'])
  const asking = await started(stack, './dbos-queue-worker.ts', [packages, url, CONNECTIONS, 'asking'])
  const name = `DBOS ${DBOS['@dbos-inc/dbos-sdk']}, a queue`
  return { ...twoProcesses(asking, asked), name, ...countedOn(postgres, ['dbos']) }
}

/** @throws PeerUnavailable */
export async function restateServiceSide({ stack, progress }: Bed): Promise<Side> {
  const packages = await providePeer('restate', RESTATE, progress)
  const server = stack.use(await startRestate(packages))
  const asked = await started(stack, './restate-service-worker.ts', [packages, server.admin, server.ingress, 'asked'])
  const asking = await started(stack, './restate-service-worker.ts', [packages, server.admin, server.ingress, 'asking'])
  const name = `Restate ${RESTATE['@restatedev/restate-server']}, a service`
  return { ...twoProcesses(asking, asked), name, serverCpuUs: () => cpuUsOfTree(server.pid) }
}

function twoProcesses(asking: Worker<SideReport>, asked: Worker<SideReport>): Pick<Side, 'run'> {
  return {
    run: async (burst) => {
      const before = cpuUsOfTree(asked.pid)
      const ran = await ranBy(asking, burst)
      return { ...ran, cpuUs: ran.cpuUs + cpuUsOfTree(asked.pid) - before }
    },
  }
}
