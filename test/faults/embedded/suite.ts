/** The order-payment example in one process and one folder, killed at any moment and started again. */
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { faultsOfLives, type Lives, playLives } from '../../examples/order-payment/support/lives.ts'
import type { Arena, Episode, EpisodeReport, Played, Setting, Suite } from '../harness/suite.ts'
import { Verdicts } from '../harness/verdicts.ts'

const KILLS = 20
const MOST_SEEDS = 2 ** 31

export const embeddedSuite: Suite = {
  name: 'embedded',
  faults: [
    { name: 'kill-process', what: `kill -9 of the only process at ${KILLS} moments, and another run on its folder` },
  ],
  invariants: {
    'the next goes on': 'no run ends before it is killed, but for the last one',
    'nothing is missed': 'each order has the end that it has without a kill, and each confirmed one a receipt',
    'the books balance': 'charges and stock are those of the confirmed orders',
  },
  mistakes: {},
  // A single run keeps a core busy.
  lanes: 1,
  counted: {
    operations: 'orders',
    grants: 'confirmed',
    accepted: 'receipts',
    refused: 'killed at start',
    unknown: 'killed at work',
    handOverMs: 'last run p50/max ms',
  },
  lack: () => undefined,
  open: (setting) => Promise.resolve(new Kills(setting)),
}

class Kills implements Arena {
  readonly #setting: Setting
  readonly #closed = new AbortController()

  constructor(setting: Setting) {
    this.#setting = setting
  }

  async play({ number, fault, random }: Episode): Promise<Played> {
    const timeline: string[] = []
    const lives = await playLives({
      seed: random.between(1, MOST_SEEDS),
      kills: KILLS,
      signal: AbortSignal.any([this.#setting.signal, this.#closed.signal]),
      onKilled: (text) => void timeline.push(text),
    })
    const history = join(this.#setting.folder, `e${number}-${fault}.jsonl`)
    writeFileSync(history, `${JSON.stringify({ lives: timeline, report: lives.report, model: lives.model.orders })}\n`)
    return { judge: () => Promise.resolve(reportOf(fault, history, timeline, lives)) }
  }

  close(): Promise<void> {
    this.#closed.abort()
    return Promise.resolve()
  }
}

function reportOf(fault: string, history: string, timeline: readonly string[], lives: Lives): EpisodeReport {
  const { report, killed } = lives
  const verdicts = new Verdicts()
  for (const [invariant, evidence] of Object.entries(faultsOfLives(lives))) {
    const against = verdicts.judge(invariant)
    for (const line of evidence) against(line)
  }
  const kills = killed.starting + killed.working
  return {
    fault,
    history,
    timeline,
    counts: {
      operations: report.orders.read,
      grants: report.orders.confirmed,
      accepted: report.receipts,
      refused: killed.starting,
      unknown: killed.working,
    },
    handOverMs: [report.elapsedMs],
    happened: kills >= KILLS ? `${kills} kills, ${killed.working} of them at work` : undefined,
    verdicts: verdicts.all(),
    succeeded: { order: report.orders.confirmed, receipt: report.receipts },
  }
}
