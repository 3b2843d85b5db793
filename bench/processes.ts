import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'

/** Milliseconds on a clock that all processes of the machine share. */
export function sharedNow(): number {
  return Number(process.hrtime.bigint()) / 1e6
}

/** A process of the bench that reports over IPC. It ends when this process does, however that happens. */
export class Worker<Report extends { readonly did: string }> implements AsyncDisposable {
  readonly #child: ChildProcess
  readonly #reports: Report[] = []
  readonly #awaited = new Map<string, (report: Report) => void>()
  #gone: Error | undefined

  /**
   * @param file a module beside the caller: `new URL('./worker.ts', import.meta.url)`
   * @param execArgv options of Node; without the condition it runs the built package
   */
  constructor(file: URL, args: readonly string[], execArgv: string[] = ['--conditions=concordat-source']) {
    this.#child = fork(fileURLToPath(file), args, { execArgv })
    this.#child.on('message', (report: Report) => {
      const waiting = this.#awaited.get(report.did)
      this.#awaited.delete(report.did)
      if (waiting === undefined) this.#reports.push(report)
      else waiting(report)
    })
    this.#child.on('error', (error) => (this.#gone = error))
  }

  get pid(): number {
    const { pid } = this.#child
    if (pid === undefined) throw new Error('this worker did not start')
    return pid
  }

  tell(order: object): void {
    this.#child.send(order)
  }

  /** The next report of this kind. One waits for a kind at a time. @throws when the process ends first */
  async report(did: Report['did']): Promise<Report> {
    const index = this.#reports.findIndex((report) => report.did === did)
    if (index >= 0) return this.#reports.splice(index, 1)[0] as Report
    const { promise, resolve, reject } = Promise.withResolvers<Report>()
    const onExit = (code: number | null, signal: string | null): void => {
      reject(this.#gone ?? new Error(`a worker ended (${signal ?? code}) before it reported "${did}"`))
    }
    this.#awaited.set(did, resolve)
    this.#child.once('exit', onExit)
    return promise.finally(() => this.#child.off('exit', onExit))
  }

  /** Sends a signal; returns when that was, on the shared clock. */
  signal(signal: NodeJS.Signals): number {
    const at = sharedNow()
    this.#child.kill(signal)
    return at
  }

  /** Resolves when the process has ended. */
  async ended(): Promise<void> {
    if (this.#child.exitCode === null && this.#child.signalCode === null) await once(this.#child, 'exit')
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#child.kill('SIGKILL')
    await this.ended()
  }
}

/** Ends this child process when its parent has ended. */
export function endWithParent(): void {
  process.on('disconnect', () => process.exit(0))
}
