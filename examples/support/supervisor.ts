/**
 * Keeps the service processes of an example running: starts each process, and restarts it when it dies for any reason.
 * A process receives a start message, answers `ready`, and exits when it receives `stop` or when its parent is gone.
 */
import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'

/** First message to a process. */
export interface StartMessage {
  readonly type: 'start'
  readonly service: string
  readonly instance: string
}

export interface StopMessage {
  readonly type: 'stop'
}

/** Message from a process to its parent. */
export interface FromService {
  readonly type: 'ready'
}

/** Consecutive deaths before `ready` after which the run fails. The pauses between the attempts grow. */
const MAX_FAILED_STARTS = 6
const START_PAUSE_MS = 200
const STOP_MS = 15_000
/** Silences a harmless warning: kafkajs 2.2.4 sets a timer in the past, and Node 24 warns of it. */
const KAFKAJS_WARNING = '--disable-warning=TimeoutNegativeWarning'

export class Supervisor {
  readonly #processes: readonly ServiceProcess[]
  #fail: (error: Error) => void = () => {}
  /** Rejects when a process fails to start `MAX_FAILED_STARTS` times in a row. */
  readonly failed: Promise<never>

  /** @param program the file that each process runs, with the service and the instance as arguments */
  constructor(program: string, starts: readonly StartMessage[]) {
    this.failed = new Promise((_, reject) => (this.#fail = reject))
    this.failed.catch(() => {})
    this.#processes = starts.map((start) => new ServiceProcess(program, start, (error) => this.#fail(error)))
  }

  get restarts(): number {
    return this.#processes.reduce((sum, process) => sum + process.restarts, 0)
  }

  async start(): Promise<void> {
    for (const process of this.#processes) process.start()
    await Promise.race([Promise.all(this.#processes.map((process) => process.ready())), this.failed])
  }

  /** Kills the process with SIGKILL, and waits until its successor is ready. */
  async kill(instance: string): Promise<void> {
    await this.#processes.find((process) => process.instance === instance)?.kill()
  }

  async stop(): Promise<void> {
    await Promise.all(this.#processes.map((process) => process.stop()))
  }
}

/** Slot for the processes of one instance: each process that dies is replaced. */
class ServiceProcess {
  readonly #program: string
  readonly #start: StartMessage
  readonly #onFailed: (error: Error) => void
  #child: ChildProcess | undefined
  /** Resolved while the process of this instance is ready. */
  #ready = Promise.withResolvers<void>()
  #stopping = false
  #failedStarts = 0
  restarts = 0

  constructor(program: string, start: StartMessage, onFailed: (error: Error) => void) {
    this.#program = program
    this.#start = start
    this.#onFailed = onFailed
  }

  get instance(): string {
    return this.#start.instance
  }

  ready(): Promise<void> {
    return this.#ready.promise
  }

  start(): void {
    if (this.#stopping) return
    const child = fork(this.#program, [this.#start.service, this.instance], {
      execArgv: [...process.execArgv, KAFKAJS_WARNING],
      stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
    })
    this.#child = child
    let wasReady = false
    child.on('message', (message) => {
      wasReady ||= (message as FromService).type === 'ready'
      if (wasReady) this.#ready.resolve()
    })
    child.once('exit', () => (wasReady ? this.#replace() : this.#tryAgain()))
    child.on('error', () => {})
    child.send(this.#start, () => {})
  }

  async kill(): Promise<void> {
    await this.ready()
    const child = this.#child
    if (child === undefined || isGone(child)) return
    const gone = once(child, 'exit')
    child.kill('SIGKILL')
    await gone
    await this.ready()
  }

  async stop(): Promise<void> {
    this.#stopping = true
    const child = this.#child
    if (child === undefined || isGone(child)) return
    const gone = once(child, 'exit')
    const timer = setTimeout(() => child.kill('SIGKILL'), STOP_MS)
    child.send({ type: 'stop' } satisfies StopMessage, () => {})
    await gone
    clearTimeout(timer)
  }

  /** Restarts a process that was ready before it died. */
  #replace(): void {
    if (this.#stopping) return
    this.#ready = Promise.withResolvers()
    this.#failedStarts = 0
    this.restarts++
    this.start()
  }

  #tryAgain(): void {
    this.#failedStarts++
    if (this.#failedStarts < MAX_FAILED_STARTS) {
      setTimeout(() => this.start(), START_PAUSE_MS * 2 ** this.#failedStarts)
      return
    }
    const remedy = 'see its log (--log-level info)'
    this.#onFailed(new Error(`${this.instance} failed to start ${MAX_FAILED_STARTS} times: ${remedy}`))
  }
}

function isGone(child: ChildProcess): boolean {
  return child.exitCode !== null || child.signalCode !== null
}
