import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import { until } from '../until.ts'
import type { Order, Report } from './worker.ts'

/** A worker process, with its reports in order. */
export class WorkerProcess {
  readonly reports: Report[] = []
  readonly #child: ChildProcess

  constructor(...args: string[]) {
    this.#child = fork(fileURLToPath(new URL('./worker.ts', import.meta.url)), args, {
      execArgv: ['--conditions=concordat-source'],
    })
    this.#child.on('message', (report) => this.reports.push(report as Report))
  }

  order(order: Order): void {
    this.#child.send(order)
  }

  /** The next report of this kind, counted from `seen` reports on. */
  async report(did: Report['did'], timeoutMs = 30_000): Promise<Report> {
    await until(`a worker reports ${did}`, () => this.reports.some((report) => report.did === did), timeoutMs)
    const index = this.reports.findIndex((report) => report.did === did)
    return this.reports.splice(index, 1)[0] as Report
  }

  signal(signal: 'SIGSTOP' | 'SIGCONT'): void {
    this.#child.kill(signal)
  }

  /** SIGKILL; resolves when the process has ended, with the time of the signal. */
  async kill(): Promise<number> {
    const at = performance.timeOrigin + performance.now()
    if (this.#child.exitCode === null && this.#child.signalCode === null) {
      const gone = once(this.#child, 'exit')
      this.#child.kill('SIGKILL')
      await gone
    }
    return at
  }
}
