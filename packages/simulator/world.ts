/**
 * A deterministic world: its time, its servers, its instances and what becomes of them. One thing happens at a time: `next`
 * takes what is next from the timeline, runs it, and waits until nothing more comes of it but what is on the timeline again.
 *
 * Everything an instance asks for passes `call`, which is where faults are.
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
  /** Where in the code, as far as it can be seen from outside. */
  readonly point: string
  readonly server: Server
  readonly faults: readonly FaultKind[]
  /** Arrives after what went in before. */
  readonly lane?: Lane | undefined
  /** At the server. */
  run(fault: SimulatedFault | undefined): T | Promise<T>
  /** Runs `go` now or later: the server may have no time for it. @default now */
  admit?(go: () => Promise<void>): Promise<void> | undefined
  /** Error for a caller without an answer. `isDone`: the request may have been carried out. */
  lost(isDone: boolean): Error
  /** The connection of the caller is gone. */
  onDrop?(): void
  /** The caller waits no longer for an answer; the request is still on its way. @default it waits */
  readonly answerMs?: number | undefined
}

const LONGEST_FREEZE_MS = 30_000
const LONGEST_ABSENCE_MS = 3_000
const LATEST_START_MS = 5_000
const TIMER_FAULTS: readonly FaultKind[] = ['kill', 'freeze']
/** Turns of the event loop after each event: more than any code of ours takes for what it does without the world. */
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
  /** For what runs at servers. */
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

  /** @returns false when nothing will ever happen */
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

  /** @param onReal is told when code of an instance waits for what the world cannot answer */
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

  /** A fault of one of these kinds comes here and now, or none. */
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

  /** Asks a server for something; settles in the caller, unless that is gone by then. */
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

  /** Brings an answer back, or the news that there is none in time. */
  #answering<T>(
    instance: SimulatedProcess,
    call: Call<T>,
    reject: (error: Error) => void,
  ): (settle: () => void) => void {
    if (call.answerMs !== undefined) instance.receive(call.answerMs, () => reject(call.lost(true)))
    return (settle) => void instance.receive(this.faults.latencyMs(instance, call.point), settle)
  }

  /** Until no code has anything left to do but wait for the world. */
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
