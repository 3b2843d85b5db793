/** Starts the instances of all services, and knows which of them are not up. */
import { SECOND } from 'concordat/core'
import { toError } from 'concordat/extension'
import { runIn } from './current-process.ts'
import { draw } from './draws.ts'
import type { SimulationOptions } from './simulate-options.ts'
import type { SimulatedProcess } from './simulated-process.ts'
import type { Servers } from './simulated-servers.ts'
import type { World } from './world.ts'

/** An instance that is not up. */
export interface Late {
  readonly name: string
  /** Rejection of its last start; otherwise an error saying that the start has not resolved. */
  readonly error: Error
  readonly hasRejected: boolean
}

const STARTS_WITHIN_MS = 50
const START_AGAIN_MS = 1 * SECOND

export class InstanceStarts {
  readonly #world: World
  readonly #services: SimulationOptions['services']
  readonly #servers: Servers
  /** The rejection of the last start, by the name of the instance. */
  readonly #late = new Map<string, Error | undefined>()
  #isOver = false

  constructor(world: World, services: SimulationOptions['services'], servers: Servers) {
    this.#world = world
    this.#services = services
    this.#servers = servers
    world.onDeath(({ name, service, generation }, startsInMs) => {
      if (this.#isOver) return
      this.#late.set(name, undefined)
      world.timeline.after(startsInMs, () => this.#start(name, service, generation + 1))
    })
  }

  /** Starts each instance for the first time. */
  begin(): void {
    for (const [service, { instances = 2 }] of Object.entries(this.#services)) {
      for (let n = 1; n <= instances; n++) {
        const name = `${service}-${n}`
        this.#late.set(name, undefined)
        this.#world.timeline.after(STARTS_WITHIN_MS * draw(this.#world.seed, name, 'start'), () =>
          this.#start(name, service, 1),
        )
      }
    }
  }

  /** Instances whose `start` has not resolved yet, or not again since they were killed; by name. */
  get late(): readonly Late[] {
    const late = [...this.#late].toSorted(([a], [b]) => (a < b ? -1 : 1))
    return late.map(([name, rejected]) => {
      const error = rejected ?? new Error('its start() has not resolved')
      return { name, error, hasRejected: rejected !== undefined }
    })
  }

  /** Ends all instances. */
  end(): void {
    this.#isOver = true
    for (const instance of this.#world.instances.values()) instance.kill()
    this.#world.timeline.clear()
  }

  #start(name: string, service: string, generation: number): void {
    const world = this.#world
    const instance = world.start(name, service, generation)
    world.note(name, generation === 1 ? 'starts' : `starts again (${generation})`)
    runIn(instance, () => this.#begin(service, instance)).then(
      () => {
        if (instance.isAlive) this.#late.delete(name)
      },
      (reason: unknown) => {
        if (!instance.isAlive) return
        const error = toError(reason)
        world.note(name, `does not start: ${error.message}`)
        this.#late.set(name, error)
        instance.kill()
        world.timeline.after(START_AGAIN_MS, () => this.#start(name, service, generation + 1))
      },
    )
  }

  async #begin(service: string, instance: SimulatedProcess): Promise<void> {
    await this.#services[service]?.start(this.#servers.connect(instance))
  }
}
