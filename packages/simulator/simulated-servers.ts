/** The world as services, workloads and invariants see it. */

import type { Logger, SqlClient } from 'concordat/core'
import { invalidOption, toError } from 'concordat/extension'
import { createLocks } from 'concordat/locks'
import { type MemoryBroker, memoryBroker } from 'concordat/memory'
import { ClusterServer, SimulatedClusterStore } from './cluster-store.ts'
import { runIn } from './current-process.ts'
import { Database } from './database.ts'
import { draw } from './draws.ts'
import { LockServer, SimulatedLockStore } from './lock-store.ts'
import type { SimulatedInstance, SimulatedWorld } from './simulate-options.ts'
import type { SimulatedProcess } from './simulated-process.ts'
import { SimulatedTransport } from './transport.ts'
import type { World } from './world.ts'

/** The servers of one history. */
export class Servers {
  readonly #world: World
  readonly #broker: MemoryBroker
  readonly #locks: LockServer
  readonly #cluster: ClusterServer
  readonly #databases: ReadonlyMap<string, Database>

  constructor(world: World, databases: ReadonlyMap<string, SqlClient>) {
    this.#world = world
    this.#broker = memoryBroker()
    this.#locks = runIn(world.atServer, () => new LockServer(world))
    this.#cluster = runIn(world.atServer, () => new ClusterServer(world))
    this.#databases = new Map([...databases].map(([name, sql]) => [name, new Database(world, name, sql)]))
  }

  connect(instance: SimulatedProcess): SimulatedInstance {
    const world = this.#world
    const note = (text: string): void => {
      if (instance.isAlive) world.note(instance.name, text)
    }
    const logger = loggerTo(note)
    return {
      name: instance.name,
      service: instance.service,
      generation: instance.generation,
      transport: new SimulatedTransport(world, instance, this.#broker),
      logger,
      sql: (name) => {
        const database = this.#databases.get(name)
        if (database !== undefined) return database.clientOf(instance)
        const names = [...this.#databases.keys()].join(', ')
        throw invalidOption(
          'sql.database',
          name,
          names === '' ? 'a name of simulate.databases, which has none' : `one of ${names}`,
        )
      },
      locks: (options) =>
        createLocks(new SimulatedLockStore(world, instance, this.#locks), { owner: instance.name, logger, ...options }),
      clusterStore: () => new SimulatedClusterStore(world, instance, this.#cluster),
      note,
    }
  }
}

export function facadeOf(world: World, client: SimulatedInstance, size: number): SimulatedWorld {
  let drawn = 0
  const random = (): number => draw(world.seed, 'workload', drawn++)
  return {
    seed: world.seed,
    size,
    client,
    get elapsedMs() {
      return world.timeline.nowMs
    },
    sleep: (durationMs) => new Promise((resolve) => void setTimeout(resolve, durationMs)),
    random,
    between: (least, most) => least + Math.floor(random() * (most - least + 1)),
    note: (text) => world.note('workload', text),
  }
}

function loggerTo(note: (text: string) => void): Logger {
  const write =
    (level: string) =>
    ({ err }: Readonly<Record<string, unknown>>, text: string): void => {
      note(`${level}: ${text}${err === undefined ? '' : `: ${toError(err).message}`}`)
    }
  const quiet = (): void => {}
  return { debug: quiet, info: quiet, warn: write('warn'), error: write('error') }
}
