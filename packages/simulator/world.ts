/**
 * A deterministic world: its time, its servers, its instances and their fate. One thing happens at a time: `next` takes the next
 * event from the timeline, runs it, and waits until all further effects are on the timeline again.
 *
 * All requests of instances pass through `call`, where faults are injected.
 */
import { SECOND } from 'concordat/core'
import { runIn, type Surroundings, turn } from './current-process.ts'
import { draw, Stream } from './draws.ts'
import { EventQueue } from './event-queue.ts'
import type { FaultCoverage } from './fault-coverage.ts'
import type { FaultKind, FaultPlan, SimulatedFault } from './faults.ts'
import { InjectedFaults } from './injected-faults.ts'
import { jobUnderWay, type RealWait } from './process/real-waits.ts'
import { type Lane, Server } from './server.ts'
import { SimulatedProcess } from './simulated-process.ts'

/** A request of an instance to a server. */
export interface Call<T> {
  /** Place in the code, as far as visible from outside. */
  readonly point: string
  readonly server: Server
  readonly faults: readonly FaultKind[]
  /** Arrives after earlier requests of the lane. */
  readonly lane?: Lane | undefined
  /** Runs at the server. */
  run(fault: SimulatedFault | undefined): T | Promise<T>
  /** Runs `go` now or later: the server may be busy. @default now */
  admit?(go: () => Promise<void>): Promise<void> | undefined
  /** Error for a caller without a response. `isDone`: the request may have been carried out. */
  lost(isDone: boolean): Error
  /** The connection of the caller is gone. */
  onDrop?(): void
  /** The caller stops waiting for a response after this time; the request is still on its way. @default it waits */
  readonly answerMs?: number | undefined
}

const LONGEST_FREEZE_MS = 30_000
const LONGEST_ABSENCE_MS = 3_000
const LATEST_START_MS = 5_000
const TIMER_FAULTS: readonly FaultKind[] = ['kill', 'freeze']
/** Turns of the event loop after each event: more than our code ever needs for work without the world. */
const TURNS = 2
/** Limit in real time for a thread's job after one event. */
const LONGEST_JOB_MS = 30 * SECOND

export class World {
  readonly timeline: EventQueue = new EventQueue()
  readonly seed: number
  readonly stream: Stream
  readonly faults: InjectedFaults
  readonly lines: string[] = []
  readonly servers = new Map<string, Server>()
  readonly instances = new Map<string, SimulatedProcess>()
  /** For code that runs at servers. */
  readonly atServer: Surroundings
  #onDeath: (instance: SimulatedProcess, startsInMs: number) => void = () => {}
  #onReal: (wait: RealWait) => void = () => {}

  constructor(seed: number, plan: FaultPlan, coverage: FaultCoverage) {
    this.seed = seed
    this.faults = new InjectedFaults(seed, plan, coverage, (who, text) => this.note(who, text))
    this.stream = new Stream(seed)
    const { timeline, stream } = this
    this.atServer = {
      elapsedMs: () => timeline.nowMs,
      setTimer: (delayMs, callback) => timeline.after(delayMs, () => runIn(this.atServer, callback)),
      stream,
    }
  }

  /** @returns false if no event is left */
  async next(): Promise<boolean> {
    const run = this.timeline.next()
    if (run === undefined) return false
    await run()
    await this.#quiet()
    return true
  }

  server(name: string): Server {
    let server = this.servers.get(name)
    if (server === undefined) this.servers.set(name, (server = new Server(name, this.timeline)))
    return server
  }

  /** @param onDeath starts it again */
  onDeath(onDeath: (instance: SimulatedProcess, startsInMs: number) => void): void {
    this.#onDeath = onDeath
  }

  /** @param onReal called when code of an instance waits for something that the world cannot provide */
  onReal(onReal: (wait: RealWait) => void): void {
    this.#onReal = onReal
  }

  start(name: string, service: string, generation: number): SimulatedProcess {
    const instance = new SimulatedProcess(
      { name, service, generation },
      {
        timeline: this.timeline,
        stream: this.stream,
        onTimer: (at) => this.#timerOf(at),
        onOutside: (at, kind) => this.#onReal({ who: at.name, kind }),
      },
    )
    this.instances.set(name, instance)
    return instance
  }

  note(who: string, text: string): void {
    this.lines.push(`${(this.timeline.nowMs / 1_000).toFixed(3).padStart(9)}  ${who.padEnd(10)} ${text}`)
  }

  /** Injects no more faults, and heals all earlier ones. */
  heal(): void {
    this.faults.end()
    for (const server of this.servers.values()) server.recover()
    for (const instance of this.instances.values()) instance.thaw()
    this.note('world', 'healed')
  }

  /** A fault of one of these kinds that happens here and now, or none. */
  faultAt(instance: SimulatedProcess, point: string, kinds: readonly FaultKind[]): SimulatedFault | undefined {
    return this.faults.at(instance, point, kinds, this.timeline.nowMs)
  }

  kill(instance: SimulatedProcess): void {
    if (!instance.isAlive) return
    instance.kill()
    this.note(instance.name, 'is dead')
    this.#onDeath(instance, 200 + LATEST_START_MS * draw(this.seed, instance.name, instance.generation, 'start'))
  }

  freeze(instance: SimulatedProcess, fault: SimulatedFault): void {
    const forMs = 100 + LONGEST_FREEZE_MS * this.faults.drawn(fault, 'freeze') ** 2
    instance.freeze(forMs)
    this.note(instance.name, `is frozen for ${Math.round(forMs)} ms`)
  }

  restart(server: Server, fault: SimulatedFault): void {
    server.restart(LONGEST_ABSENCE_MS * this.faults.drawn(fault, 'away'), fault.kind === 'forget')
    this.note(server.name, fault.kind === 'forget' ? 'restarts and has forgotten everything' : 'restarts')
  }

  /** Sends a request to a server; settles in the caller, unless the caller is dead by then. */
  call<T>(instance: SimulatedProcess, call: Call<T>): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      if (!instance.isAlive) return
      const fault = this.faultAt(instance, call.point, call.faults)
      if (fault?.kind === 'kill') return this.kill(instance)
      const answer = this.#answering(instance, call, reject)
      if (fault?.kind === 'drop') {
        call.onDrop?.()
        answer(() => reject(call.lost(false)))
        return
      }
      const sentMs = this.timeline.nowMs + this.faults.latencyMs(instance, call.point) + this.faults.delayMs(fault)
      const { epoch } = call.server
      const go = (): Promise<void> => this.#carryOut(instance, call, { fault, epoch, answer, resolve, reject })
      this.timeline.at(call.lane?.after(sentMs) ?? sentMs, () => (call.admit === undefined ? go() : call.admit(go)))
      if (fault?.kind === 'freeze') this.freeze(instance, fault)
      if (fault?.kind === 'restart' || fault?.kind === 'forget') this.restart(call.server, fault)
    })
  }

  async #carryOut<T>(instance: SimulatedProcess, call: Call<T>, sent: Sent<T>): Promise<void> {
    const { server, point } = call
    const { fault, epoch, answer, resolve, reject } = sent
    if (server.isAway || server.epoch !== epoch) {
      answer(() => reject(call.lost(server.epoch !== epoch)))
      return
    }
    let settle: () => void
    try {
      const value = await runIn(this.atServer, () => call.run(fault))
      this.note(instance.name, point)
      settle = () => resolve(value)
    } catch (error) {
      this.note(instance.name, `${point}: ${error instanceof Error ? error.message : String(error)}`)
      settle = () => reject(error)
    }
    if (fault?.kind === 'kill-after') return this.kill(instance)
    if (fault?.kind === 'drop-after') call.onDrop?.()
    answer(() => {
      if (fault?.kind === 'drop-after' || server.epoch !== epoch) reject(call.lost(true))
      else settle()
    })
  }

  /** Delivers a response, or the information that there is none in time. */
  #answering<T>(
    instance: SimulatedProcess,
    call: Call<T>,
    reject: (error: Error) => void,
  ): (settle: () => void) => void {
    if (call.answerMs !== undefined) instance.receive(call.answerMs, () => reject(call.lost(true)))
    return (settle) => void instance.receive(this.faults.latencyMs(instance, call.point), settle)
  }

  /** Waits until all code only waits for the world. */
  async #quiet(): Promise<void> {
    let beganMs: number | undefined
    for (let n = 0; n < TURNS; n++) {
      await turn()
      const job = jobUnderWay()
      if (job === undefined) continue
      beganMs ??= performance.now()
      if (performance.now() - beganMs > LONGEST_JOB_MS) return this.#onReal(job)
      n = -1
    }
  }

  #timerOf(instance: SimulatedProcess): void {
    const fault = this.faultAt(instance, 'timer', TIMER_FAULTS)
    if (fault?.kind === 'kill') this.kill(instance)
    if (fault?.kind === 'freeze') this.freeze(instance, fault)
  }
}

interface Sent<T> {
  readonly fault: SimulatedFault | undefined
  readonly epoch: number
  readonly answer: (settle: () => void) => void
  readonly resolve: (value: T) => void
  readonly reject: (error: unknown) => void
}
