import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import { until } from '../../support/until.ts'
import type { LeaderOptions, LeaderReport } from './leader-process.ts'

/** A process with candidacies, and all its reports. */
export class LeaderChild {
  readonly reports: LeaderReport[] = []
  readonly exited: Promise<{ readonly code: number | null; readonly signal: string | null }>
  readonly #child: ChildProcess

  constructor(options: LeaderOptions) {
    const script = fileURLToPath(new URL('./leader-process.ts', import.meta.url))
    this.#child = fork(script, [JSON.stringify(options)], { execArgv: ['--conditions=concordat-source'] })
    this.#child.on('message', (report) => this.reports.push(report as LeaderReport))
    this.exited = once(this.#child, 'exit').then(([code, signal]) => ({ code, signal }))
  }

  get pid(): number {
    return this.#child.pid as number
  }

  /** The first report of this kind, and of this role. */
  async report(did: LeaderReport['did'], role?: string): Promise<LeaderReport> {
    const matches = (each: LeaderReport): boolean => each.did === did && (role === undefined || each.role === role)
    await until(`process ${this.pid} reports ${did} ${role ?? ''}`, () => this.reports.some(matches))
    return this.reports.find(matches) as LeaderReport
  }

  /** @returns when it was sent, epoch ms with fractions */
  signal(signal: NodeJS.Signals): number {
    const at = performance.timeOrigin + performance.now()
    this.#child.kill(signal)
    return at
  }

  async kill(): Promise<void> {
    if (this.#child.exitCode === null && this.#child.signalCode === null) this.#child.kill('SIGKILL')
    await this.exited
  }
}
