import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import { type Event, nowMs } from './events.ts'

type Watcher = (event: Event) => void

const EXEC_ARGV = [
  '--conditions=concordat-source',
  // kafkajs sets timers in the past.
  '--disable-warning=TimeoutNegativeWarning',
  `--import=${new URL('keep-compiled.ts', import.meta.url).href}`,
]
const COMPILED = fileURLToPath(new URL('../../../.cache/compile', import.meta.url))

/** Worker process that takes orders and reports every event of its history; tests kill and stop it at any time. */
export class Actor<Order extends object> {
  readonly name: string
  /** Events of the current episode. */
  readonly events: Event[] = []
  readonly #child: ChildProcess
  readonly #watchers = new Set<Watcher>()
  #stopped = false
  #killed = false

  constructor(name: string, module: URL) {
    this.name = name
    // The worker has its own process group: Ctrl-C ends the run in order, instead of ending the workers first.
    const env = { NODE_COMPILE_CACHE: COMPILED, ...process.env }
    this.#child = fork(module, [], { execArgv: EXEC_ARGV, detached: true, env })
    this.#child.on('message', (message) => this.#tell(message as Event))
    this.#child.on('error', () => {})
  }

  get pid(): number {
    return this.#child.pid as number
  }

  get isAlive(): boolean {
    return this.#child.exitCode === null && this.#child.signalCode === null
  }

  /** Killed by the run, or ordered to end. */
  get wasKilled(): boolean {
    return this.#killed
  }

  get isStopped(): boolean {
    return this.#stopped
  }

  order(order: Order): void {
    if (this.#child.connected) this.#child.send(order, () => {})
  }

  /** The first event from now on that fits. @throws when it does not come, or the process ends first */
  async next(what: string, fits: (event: Event) => boolean, timeoutMs = 60_000): Promise<Event> {
    const found = Promise.withResolvers<Event>()
    const watcher = (event: Event): void => {
      if (fits(event)) found.resolve(event)
    }
    const onExit = (): void => {
      const said = this.events.findLast(({ error }) => error !== undefined)?.error
      found.reject(new Error(`${this.name} ended before: ${what}${said === undefined ? '' : `, after: ${said}`}`))
    }
    const timer = setTimeout(() => {
      found.reject(new Error(`${this.name}: not within ${timeoutMs} ms: ${what}`))
    }, timeoutMs)
    this.#watchers.add(watcher)
    this.#child.once('exit', onExit)
    if (!this.isAlive) onExit()
    try {
      return await found.promise
    } finally {
      clearTimeout(timer)
      this.#watchers.delete(watcher)
      this.#child.off('exit', onExit)
    }
  }

  watch(watcher: Watcher): () => void {
    this.#watchers.add(watcher)
    return () => this.#watchers.delete(watcher)
  }

  stop(): void {
    this.#stopped = true
    this.#child.kill('SIGSTOP')
  }

  resume(): void {
    this.#stopped = false
    this.#child.kill('SIGCONT')
  }

  terminate(): void {
    this.#killed = true
    this.#child.kill('SIGTERM')
  }

  onExit(listener: () => void): void {
    this.#child.once('exit', listener)
  }

  /** SIGKILL; resolves when the process has ended, with the time of the signal. */
  async kill(): Promise<number> {
    const at = nowMs()
    if (this.isAlive) {
      this.#killed = true
      const gone = once(this.#child, 'exit')
      this.#child.kill('SIGKILL')
      await gone
    }
    return at
  }

  async gone(timeoutMs: number): Promise<boolean> {
    const deadline = performance.now() + timeoutMs
    while (this.isAlive) {
      if (performance.now() > deadline) return false
      await new Promise((resolve) => setTimeout(resolve, 5))
    }
    return true
  }

  #tell(event: Event): void {
    this.events.push(event)
    for (const watcher of this.#watchers) watcher(event)
  }
}
