/** A saga of three commands to another process, beside a queue of DBOS and a service of Restate there. */
import type { SuiteOptions } from '../main.ts'
import { PostgresBed } from '../postgres-bed.ts'
import { provideServer } from '../servers.ts'
import { type Bout, measureBout } from './bout.ts'
import { askingSide, dbosQueueSide, restateServiceSide } from './participant-sides.ts'

const TARGET = { atLeast: 3 } as const

export async function measureParticipants(postgres: PostgresBed, options: SuiteOptions): Promise<void> {
  await measureBout(boutOver('PostgreSQL', undefined), postgres, options)
  await using stack = new AsyncDisposableStack()
  const server = await provideServer('rabbitmq', stack)
  if ('missing' in server) return options.skip(server.missing)
  await using another = await PostgresBed.open()
  await measureBout(boutOver('RabbitMQ', server.address), another, options)
}

/** @param rabbitmq its address; without it messages go over PostgreSQL */
function boutOver(name: string, rabbitmq: string | undefined): Bout {
  return {
    what: `three commands to another process, ours over ${name}`,
    ours: (bed) => askingSide(bed, rabbitmq),
    rivals: [
      { make: dbosQueueSide, what: 'DBOS queues', target: TARGET },
      { make: restateServiceSide, what: 'Restate services', target: TARGET },
    ],
  }
}
