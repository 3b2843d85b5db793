/** Keeps the service processes running: starts each, starts it again when it dies, whoever killed it. */
import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import type { FromService, ToService } from '../service-process.ts'

export type StartMessage = Extract<ToService, { type: 'start' }>

const PROGRAM = join(import.meta.dirname, '..', 'service-process.ts')

/** How often in a row a process may die before it was ready. */
const MAX_FAILED_STARTS = 5
const STOP_MS = 15_000
/** kafkajs 2.2.4 sets a timer in the past, of which Node 24 warns. Harmless. */
const KAFKAJS_WARNING = '--disable-warning=TimeoutNegativeWarning'

export class Supervisor {
  readonly #processes: readonly ServiceProcess[]
  #fail: (error: Error) => void = () => {}
  /** Rejects when a process does not come up any more. */
  readonly failed: Promise<never>

  constructor(starts: readonly StartMessage[]) {
    this.failed = new Promise((_, reject) => (this.#fail = reject))
    this.failed.catch(() => {})
    this.#processes = starts.map((start) => new ServiceProcess(start, (error) => this.#fail(error)))
  }

  get restarts(): number {
    return this.#processes.reduce((sum, process) => sum + process.restarts, 0)
  }

  async start(): Promise<void> {
    for (const process of this.#processes) process.start()
    await Promise.race([Promise.all(this.#processes.map((process) => process.ready())), this.failed])
  }

  /** SIGKILL, and waits until its successor is ready. */
  async kill(instance: string): Promise<void> {
    await this.#processes.find((process) => process.instance === instance)?.kill()
  }

  async stop(): Promise<void> {
    await Promise.all(this.#processes.map((process) => process.stop()))
  }
}

/** One place for a process: the processes in it come and go. */
class ServiceProcess {
  readonly #start: StartMessage
  readonly #onFailed: (error: Error) => void
  #child: ChildProcess | undefined
  #ready: Promise<void> = Promise.resolve()
  #stopping = false
  #failedStarts = 0
  restarts = 0

  constructor(start: StartMessage, onFailed: (error: Error) => void) {
    this.#start = start
    this.#onFailed = onFailed
  }

  get instance(): string {
    return this.#start.instance
  }

  ready(): Promise<void> {
    return this.#ready
  }

  start(): void {
    const child = fork(PROGRAM, [this.#start.service, this.instance], {
      execArgv: [...process.execArgv, KAFKAJS_WARNING],
      stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
    })
    this.#child = child
    this.#ready = new Promise((resolve) => {
      child.on('message', (message) => {
        if ((message as FromService).type !== 'ready') return
        this.#failedStarts = 0
        resolve()
      })
      child.once('exit', () => {
        resolve()
        this.#onExit()
      })
    })
    child.on('error', () => {})
    child.send(this.#start, () => {})
  }

  async kill(): Promise<void> {
    await this.#ready
    const child = this.#child
    if (child === undefined) return
    const gone = once(child, 'exit')
    child.kill('SIGKILL')
    await gone
    await this.#ready
  }

  async stop(): Promise<void> {
    this.#stopping = true
    const child = this.#child
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return
    const gone = once(child, 'exit')
    const timer = setTimeout(() => child.kill('SIGKILL'), STOP_MS)
    child.send({ type: 'stop' } satisfies ToService, () => {})
    await gone
    clearTimeout(timer)
  }

  #onExit(): void {
    if (this.#stopping) return
    this.#failedStarts++
    if (this.#failedStarts > MAX_FAILED_STARTS) {
      this.#onFailed(
        new Error(`${this.instance} did not start ${MAX_FAILED_STARTS} times: see its log (--log-level info)`),
      )
      return
    }
    this.restarts++
    this.start()
  }
}
