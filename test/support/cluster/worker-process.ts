import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import { until } from '../until.ts'
import type { Heard, Order, Report } from './worker.ts'

/** A member in a process of its own, with its reports in order. */
export class MemberProcess {
  readonly instance: string
  readonly reports: Report[] = []
  readonly #child: ChildProcess

  constructor(args: readonly [url: string, prefix: string, cluster: string, instance: string, ...timing: string[]]) {
    this.instance = args[3]
    this.#child = fork(fileURLToPath(new URL('./worker.ts', import.meta.url)), args, {
      execArgv: ['--conditions=concordat-source'],
    })
    this.#child.on('message', (report) => this.reports.push(report as Report))
  }

  /** The generation it began with. */
  async ready(): Promise<number> {
    return (await this.#next('ready')).generation
  }

  /** Events that it received about a member, without events that all members receive about others. */
  heardOf(instance: string): string[] {
    return this.heard()
      .filter((event) => event.instance === instance)
      .map(({ type, reason }) => (reason === undefined ? type : `${type} ${reason}`))
  }

  heard(): Heard[] {
    return this.reports.flatMap((report) => (report.did === 'heard' ? [report.event] : []))
  }

  /** Events about itself. */
  self(): Heard[] {
    return this.reports.flatMap((report) => (report.did === 'self' ? [report.event] : []))
  }

  async write(key: string, value: unknown): Promise<string> {
    this.#child.send({ do: 'write', key, value } satisfies Order)
    const done = await this.#next('wrote', 'failed')
    return done.did === 'failed' ? done.code : done.did
  }

  async leave(): Promise<void> {
    this.#child.send({ do: 'leave' } satisfies Order)
    await this.#next('left')
  }

  signal(signal: 'SIGSTOP' | 'SIGCONT'): void {
    this.#child.kill(signal)
  }

  /** SIGKILL; resolves when the process has ended. */
  async kill(): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return
    const gone = once(this.#child, 'exit')
    this.#child.kill('SIGKILL')
    await gone
  }

  async #next<Did extends Report['did']>(...dids: Did[]): Promise<Extract<Report, { did: Did }>> {
    const matches = (report: Report): report is Extract<Report, { did: Did }> => dids.includes(report.did as Did)
    await until(`${this.instance} reports ${dids.join(' or ')}`, () => this.reports.some(matches))
    const found = this.reports.find(matches) as Extract<Report, { did: Did }>
    this.reports.splice(this.reports.indexOf(found), 1)
    return found
  }
}
