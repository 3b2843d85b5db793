/**
 * A member that was stopped for longer than its session begins no message that another member has handled since, on
 * each transport that can move an assignment to another process.
 */
import { type ChildProcess, fork } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { fileURLToPath } from 'node:url'
import { createBinder } from 'concordat/binder'
import { expect, it, onTestFinished } from 'vitest'
import { describeWith, serverUrl } from '../support/servers/index.ts'
import { until } from '../support/until.ts'
import {
  channelOf,
  type MemberOptions,
  type MemberReport,
  memberTransport,
  TRANSPORTS,
} from './support/member-process.ts'

const MESSAGES = 1_000
/** A member has fewer in flight and fetched. */
const MOST_FETCHED = 300

type Call = Extract<MemberReport, { readonly did: 'began' | 'ended' }>

class Member {
  readonly #child: ChildProcess
  readonly #reports: MemberReport[] = []

  constructor(options: MemberOptions) {
    const program = fileURLToPath(new URL('./support/member-process.ts', import.meta.url))
    this.#child = fork(program, [JSON.stringify(options)], {
      execArgv: ['--conditions=concordat-source'],
      serialization: 'advanced',
    })
    this.#child.on('message', (report) => this.#reports.push(report as MemberReport))
    onTestFinished(() => void this.#child.kill('SIGKILL'))
  }

  signal(name: 'SIGSTOP' | 'SIGCONT'): void {
    this.#child.kill(name)
  }

  calls(did: Call['did']): readonly Call[] {
    return this.#reports.filter((report): report is Call => report.did === did)
  }
}

const urlOf = (on: MemberOptions['on']): string =>
  serverUrl(on === 'kafkajs' || on === 'platformatic' ? 'kafka' : on) as string

describeWith(['kafka', 'rabbitmq', 'postgres'], 'a member that was stopped for longer than its session', () => {
  it.for(TRANSPORTS)('begins no message on %s that its successor has handled before', async (on) => {
    const options: MemberOptions = { on, url: urlOf(on), channel: `stopped-${randomUUID().slice(0, 8)}` }
    const channel = channelOf(options)
    const sender = createBinder({ service: 'shop', transport: memberTransport(options), sends: [channel] })
    onTestFinished(() => sender.close())
    await sender.start()
    await sender.sendBatch(
      channel,
      Array.from({ length: MESSAGES }, (_, n) => ({ n })),
      ({ n }) => ({ key: `k${n % 16}` }),
    )

    const stopped = new Member(options)
    await until('it handles the backlog', () => stopped.calls('ended').length >= 50)
    stopped.signal('SIGSTOP')
    const successor = new Member(options)
    await until('all that it had fetched is handled elsewhere', () => successor.calls('ended').length > MOST_FETCHED)
    const resumedAtNs = process.hrtime.bigint()
    stopped.signal('SIGCONT')
    await until('it ends the calls in which it was stopped', () =>
      stopped.calls('ended').some(({ atNs }) => atNs > resumedAtNs),
    )
    const handled = (): Set<number> =>
      new Set([stopped, successor].flatMap((member) => member.calls('ended').map(({ n }) => n)))
    await until('all are handled', () => handled().size === MESSAGES, 60_000)

    const endedAtNs = new Map(successor.calls('ended').map(({ n, atNs }) => [n, atNs]))
    const late = stopped.calls('began').filter(({ n, atNs }) => {
      const endNs = endedAtNs.get(n)
      return atNs > resumedAtNs && endNs !== undefined && endNs < atNs
    })
    expect(late).toEqual([])
  })
})
