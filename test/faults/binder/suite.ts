import { join } from 'node:path'
import { operationsOf, writeEvents } from '../harness/events.ts'
import { Random } from '../harness/random.ts'
import {
  type Arena,
  type Episode,
  type EpisodeReport,
  isPlayedOn,
  type Played,
  type Setting,
  type Suite,
} from '../harness/suite.ts'
import { timelineOf, Verdicts } from '../harness/verdicts.ts'
import type { BinderFault } from './fault.ts'
import { BINDER_FAULTS } from './faults.ts'
import { BINDER_INVARIANTS } from './invariants.ts'
import { acceptedOf, judge, type Known, latenciesOf, repeatsOf, runsOf } from './judge.ts'
import { TOGETHER, TRANSPORTS, type TransportName } from './place.ts'
import { lackOfPooler } from './pooler.ts'
import { Site } from './site.ts'

export const binderSuite: Suite = {
  name: 'binder',
  faults: BINDER_FAULTS,
  invariants: BINDER_INVARIANTS,
  mistakes: {
    'settles-first': {
      what: 'the transport settles a message before its handler runs',
      faults: ['consumer-kill'],
      breaks: 'nothing is lost',
    },
    'confirms-first': {
      what: 'the transport says that a message was confirmed before the broker did',
      faults: ['sender-kill'],
      breaks: 'nothing is lost',
    },
    'forgets-delays': {
      what: 'the transport delivers delayed messages at once',
      faults: ['none'],
      breaks: 'none early',
    },
    'forgets-keys': {
      what: 'the transport does not tell which messages have one key',
      faults: ['none'],
      breaks: 'in order',
    },
    'trusts-last': {
      what: 'PostgreSQL: positions go to what lies behind the last number, whatever commits later',
      faults: ['none'],
      breaks: 'nothing is lost',
    },
    'takes-held': {
      what: 'PostgreSQL: members take partitions whether or not their holders live',
      faults: ['none'],
      breaks: 'one at a time',
    },
    'splits-assign': {
      what: 'PostgreSQL: the snapshot that is remembered is not that of the statement that gave the positions',
      faults: ['none'],
      breaks: 'nothing is lost',
    },
    'settles-apart': {
      what: 'PostgreSQL: a place is written in a transaction of its own, before that of the handler commits',
      faults: ['freeze-after-its-place'],
      breaks: 'once with its place',
    },
    'acks-unfenced': {
      what: 'PostgreSQL: processes believe in their places for ever, and what is settled is written without a look at the epoch',
      faults: ['freeze-in-transaction'],
      breaks: 'places go forward',
    },
  },
  transports: TRANSPORTS,
  transportsTogether: true,
  // Each fault is played at all brokers at once, one fault after the other.
  lanes: 1,
  counted: {
    operations: 'messages',
    grants: 'handled',
    accepted: 'duplicates',
    refused: 'losses',
    unknown: 'sent again',
    handOverMs: 'send to end p50/max ms',
  },
  lack: (_, transport) => (transport === 'pgbouncer' ? lackOfPooler() : undefined),
  open: (setting) => Post.open(setting, BINDER_FAULTS),
}

export class Post implements Arena {
  readonly #setting: Setting
  readonly #sites: readonly Site[]

  readonly #faults: readonly BinderFault[]

  private constructor(setting: Setting, sites: readonly Site[], faults: readonly BinderFault[]) {
    this.#setting = setting
    this.#sites = sites
    this.#faults = faults
  }

  /** @param faults those that it can play */
  static async open(setting: Setting, faults: readonly BinderFault[]): Promise<Post> {
    const names = TRANSPORTS.filter((name) =>
      setting.transport === undefined ? TOGETHER.some((one) => one === name) : setting.transport === name,
    )
    const opened = await Promise.allSettled(names.map((name: TransportName) => Site.open(setting, name)))
    const sites = opened.flatMap((one) => (one.status === 'fulfilled' ? [one.value] : []))
    const failed = opened.find((one) => one.status === 'rejected')
    if (failed === undefined) return new Post(setting, sites, faults)
    await Promise.all(sites.map((site) => site.close()))
    throw failed.reason
  }

  async play({ number, round, fault }: Episode): Promise<Played> {
    const spec = this.#faults.find(({ name }) => name === fault)
    if (spec === undefined) throw new Error(`no fault "${fault}"`)
    const { seed } = this.#setting
    const sites = this.#sites.filter((site) => isPlayedOn(spec, site.transport))
    if (sites.length === 0) throw new Error(`"${fault}" is played on ${[spec.on].flat().join(', ')} only`)
    const happened = await Promise.all(
      sites.map((site) => playAt(site, number, spec, new Random(`${seed} ${round} ${fault} ${site.transport}`))),
    )
    const report = this.#report(sites, number, fault, happened)
    return { judge: () => Promise.resolve(report) }
  }

  async close(): Promise<void> {
    await Promise.all(this.#sites.map((site) => site.close()))
  }

  #report(
    sites: readonly Site[],
    number: number,
    fault: string,
    happened: readonly (string | undefined)[],
  ): EpisodeReport {
    const verdicts = new Verdicts()
    const all = sites.map((site) => site.known())
    for (const known of all) judge(known, verdicts)
    const own = all.map((known) => ofEpisode(known, number))
    const events = own.flatMap((known) => known.events).sort((a, b) => a.at - b.at)
    const history = join(this.#setting.folder, `e${number}-${fault}.jsonl`)
    writeEvents(history, events)
    const counts = own.map(countsOf)
    const sum = (of: (each: ReturnType<typeof countsOf>) => number): number =>
      counts.reduce((total, each) => total + of(each), 0)
    return {
      fault,
      history,
      timeline: timelineOf(events),
      counts: {
        operations: sum(({ accepted }) => accepted),
        grants: sum(({ handled }) => handled),
        accepted: sum(({ repeats }) => repeats),
        refused: sum(({ lost }) => lost),
        unknown: sum(({ sentAgain }) => sentAgain),
      },
      handOverMs: own.flatMap((known) => latenciesOf(known.events)),
      happened: happened.includes(undefined)
        ? undefined
        : happened.map((text, i) => `${sites[i]?.transport}: ${text}`).join('; '),
      verdicts: verdicts.all(),
      succeeded: Object.fromEntries(
        own.flatMap((known, i) => [
          [`message over ${known.transport}`, counts[i]?.handled ?? 0],
          [`delayed message over ${known.transport}`, counts[i]?.reminded ?? 0],
        ]),
      ),
    }
  }
}

async function playAt(site: Site, number: number, spec: BinderFault, random: Random): Promise<string | undefined> {
  site.note('act', `episode ${number}: ${spec.name}`)
  await site.begin(number)
  const happened = await spec.play(site, random)
  site.note('act', happened === undefined ? 'nothing shows that it happened' : happened)
  await site.quiet()
  const shown = await site.shown()
  return happened === undefined || shown === undefined ? undefined : `${happened}${shown}`
}

/** Facts about the messages of one episode, and the faults since it began. */
function ofEpisode(known: Known, number: number): Known {
  const since = known.events.find(({ op, text }) => op === 'act' && text?.includes(`: episode ${number}: `))?.at ?? 0
  const events = known.events.filter(({ at, key }) => at >= since && (key?.startsWith(`e${number}`) ?? true))
  return { ...known, events }
}

function countsOf(known: Known) {
  const sends = operationsOf(known.events, 'send')
  const runs = runsOf(known)
  const accepted = acceptedOf(sends)
  const delayed = operationsOf(known.events, 'delay')
  const later = acceptedOf(delayed)
  const reminders = runsOf(known, ['remind'])
  const done = (stage: string): Set<string> =>
    new Set(runs.filter((run) => run.stage === stage && run.ok).map(({ key, n }) => `${key}/${n}`))
  const [worked, audited] = [done('work'), done('audit')]
  const reminded = new Set(reminders.filter(({ ok }) => ok).map(({ key, n }) => `${key}/${n}`))
  const handled = [...accepted].filter((name) => worked.has(name) && audited.has(name)).length
  const inTime = [...later].filter((name) => reminded.has(name)).length
  const all = accepted.size + later.size
  return {
    accepted: all,
    handled: handled + inTime,
    reminded: inTime,
    lost: all - handled - inTime,
    repeats: repeatsOf(runs).length + repeatsOf(reminders).length,
    sentAgain: [...sends, ...delayed].filter(({ end }) => end?.type === 'info').length,
  }
}
