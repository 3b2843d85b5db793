import { randomUUID } from 'node:crypto'
import { join } from 'node:path'
import { type PrivateServer, type ServerClock, serverClock, serverClockLack } from '../../support/servers/index.ts'
import { Crew } from '../harness/crew.ts'
import { EventLoop } from '../harness/event-loop.ts'
import { type Event, EventLog, nowMs, readEvents, writeEvents } from '../harness/events.ts'
import { Link } from '../harness/link.ts'
import { Reaper } from '../harness/reaper.ts'
import { type Ledgers, Sink } from '../harness/sink.ts'
import type { Arena, Episode, EpisodeReport, Played, Setting } from '../harness/suite.ts'
import type { StoreDriver } from './drivers.ts'
import type { StoreFault } from './fault.ts'
import type { Order } from './orders.ts'
import { GRANT_WITHIN_MS, TTL_MS } from './sizes.ts'
import { portOf, Stage, type Worker } from './stage.ts'

const WORKERS = 4

/** Additions of a suite to the servers, links and processes: its actors and their judge. */
export interface Company<Fault extends StoreFault> {
  readonly faults: readonly Fault[]
  readonly worker: URL
  readonly holders: 'on request' | 'always'
  readonly store: StoreDriver
  keyOf(episode: number): string
  settingsOf(fault: Fault): unknown
  /** Resolves when all work as they should, and the fault may come. */
  begun(stage: Stage): Promise<void>
  /** Resolves when all work again, or with a note about who does not. */
  recovered(stage: Stage, healedAt: number): Promise<void>
  judge(remains: Remains<Fault>): EpisodeReport
}

/** Records that an episode left behind. */
export interface Remains<Fault extends StoreFault> {
  readonly fault: Fault
  readonly events: readonly Event[]
  readonly ledgers: Ledgers
  /** Entries left in the store after two ttls, which should have been deleted. */
  readonly orphans: readonly string[]
  readonly happened: string | undefined
  readonly healedAt: number
  /** Longest pause of the judge's own process: what a busy machine adds to every time. */
  readonly lagMs: number
  readonly history: string
}

/** Episodes over a private server each, with a link to it for each worker, and sinks that all of them share. */
export class StoreArena<Fault extends StoreFault> implements Arena {
  readonly #company: Company<Fault>
  readonly #setting: Setting
  readonly #sink: Sink
  readonly #crews: readonly Crew<Order>[]
  readonly #reaper: Reaper
  readonly #servers = new Set<PrivateServer>()
  readonly #clocks = new Set<ServerClock>()
  readonly #eventLoop = new EventLoop()
  #closed: Promise<void> | undefined

  private constructor(
    company: Company<Fault>,
    setting: Setting,
    sink: Sink,
    crews: readonly Crew<Order>[],
    reaper: Reaper,
  ) {
    this.#company = company
    this.#setting = setting
    this.#sink = sink
    this.#crews = crews
    this.#reaper = reaper
  }

  static async open<Fault extends StoreFault>(company: Company<Fault>, setting: Setting): Promise<StoreArena<Fault>> {
    const reaper = new Reaper()
    const crews = Array.from({ length: setting.lanes }, () => new Crew<Order>(company.worker, reaper))
    for (const crew of crews) crew.prepare(WORKERS)
    try {
      return new StoreArena(company, setting, await Sink.open(), crews, reaper)
    } catch (error) {
      await Promise.all(crews.map((crew) => crew.close()))
      await reaper.dismiss()
      throw error
    }
  }

  async play(episode: Episode): Promise<Played> {
    const fault = this.#company.faults.find(({ name }) => name === episode.fault) as Fault
    const crew = this.#crews[episode.lane] as Crew<Order>
    const name = `${episode.number}-${fault.name}`
    const log = new EventLog(join(this.#setting.folder, `${name}.harness.jsonl`), 'harness', () => {})
    const workers = crew.take(WORKERS)
    const stage = await this.#stage(episode, fault, log)
    const files = workers.map((worker) => join(this.#setting.folder, `${name}.${worker.name}.jsonl`))
    try {
      await this.#open(stage, episode, fault, workers, files)
      const bite = await this.#act(stage, fault)
      const lagMs = this.#eventLoop.longestStallMs(10_000)
      const server = fault.needs === 'a replica' ? (stage.replica as PrivateServer) : stage.server
      await this.#rest(stage, server, workers)
      const quietSince = nowMs()
      for (const worker of workers) crew.giveBack(worker)
      crew.prepare(WORKERS)
      return {
        judge: async () => {
          await stage.pause(Math.max(0, quietSince + 2 * TTL_MS - nowMs()))
          const orphans = await this.#company.store.orphans(server, stage.prefix)
          const own = await this.#company.store.ledgers(server, stage.key)
          await this.#strike(stage)
          const paths = [...files, join(this.#setting.folder, `${name}.harness.jsonl`)]
          return this.#judge(name, paths, { fault, ...bite, orphans, lagMs, key: stage.key, own })
        },
      }
    } catch (error) {
      await this.#strike(stage)
      await Promise.all(workers.map((worker) => worker.kill()))
      crew.prepare(WORKERS)
      throw error
    } finally {
      log.close()
    }
  }

  close(): Promise<void> {
    this.#closed ??= this.#close()
    return this.#closed
  }

  async #close(): Promise<void> {
    await Promise.allSettled(this.#crews.map((crew) => crew.close()))
    await Promise.allSettled([...this.#servers].map((server) => server.stop()))
    for (const clock of this.#clocks) clock.dispose()
    await this.#sink.close().catch(() => {})
    this.#eventLoop.close()
    await this.#reaper.dismiss()
  }

  async #stage(episode: Episode, fault: Fault, log: EventLog): Promise<Stage> {
    const clock = fault.needs === 'a clock of its own' ? await this.#clock() : undefined
    const server = await this.#server(fault.settings ?? {}, clock?.env)
    let [replica, replication]: [PrivateServer | undefined, Link | undefined] = [undefined, undefined]
    if (fault.needs === 'a replica') {
      replication = await Link.to(portOf(server))
      replica = await this.#server({ replicaof: `127.0.0.1 ${replication.port}` })
    }
    const prefix = `faults-${randomUUID().slice(0, 8)}:`
    const { holders, store } = this.#company
    const key = this.#company.keyOf(episode.number)
    return new Stage({
      random: episode.random,
      server,
      replica,
      replication,
      clock,
      log,
      prefix,
      key,
      holders,
      address: store.address,
    })
  }

  async #open(stage: Stage, episode: Episode, fault: Fault, workers: readonly Worker[], files: readonly string[]) {
    await Promise.all(
      workers.map(async (worker, index) => {
        const opened = worker.next('is ready', ({ op }) => op === 'opened', 30_000)
        const place = {
          history: files[index] as string,
          process: worker.name,
          seed: `${this.#setting.seed} ${episode.round} ${fault.name} ${index}`,
          storeUrl: await stage.connect(worker),
          prefix: stage.prefix,
          key: stage.key,
          sinks: this.#sink.address,
          broken: this.#setting.broken,
        }
        worker.order({ do: 'open', place, settings: this.#company.settingsOf(fault) })
        await opened
      }),
    )
    if (stage.replica !== undefined) await linked(stage, stage.replica)
    stage.all({ do: 'go' })
    await this.#company.begun(stage)
  }

  async #act(stage: Stage, fault: Fault) {
    stage.note('act', fault.name)
    const bite = await fault.act(stage)
    await this.#company.recovered(stage, bite.healedAt)
    return bite
  }

  /** Ends the load: every worker stops, then the lock must be free. */
  async #rest(stage: Stage, server: PrivateServer, workers: readonly Worker[]): Promise<void> {
    for (const worker of workers) if (!worker.isAlive && !worker.wasKilled) stage.note('died', worker.name)
    const alive = workers.filter(({ isAlive }) => isAlive)
    const stopped = alive.map((worker) => worker.next('has stopped', ({ op }) => op === 'stopped'))
    stage.all({ do: 'stop' })
    await Promise.all(stopped)
    await stage.lastAcquire(server, GRANT_WITHIN_MS)
    const closed = alive.map((worker) => worker.next('has closed', ({ op }) => op === 'closed'))
    stage.all({ do: 'close' })
    await Promise.all(closed)
  }

  async #judge(
    name: string,
    paths: readonly string[],
    remains: Omit<Remains<Fault>, 'events' | 'ledgers' | 'history'> & { readonly key: string; readonly own: Ledgers },
  ): Promise<EpisodeReport> {
    const events = readEvents(paths)
    const history = join(this.#setting.folder, `${name}.jsonl`)
    writeEvents(history, events)
    return this.#company.judge({
      ...remains,
      events,
      history,
      ledgers: new Map([...(await this.#sink.ledgers(remains.key)), ...remains.own]),
    })
  }

  async #strike(stage: Stage): Promise<void> {
    await stage.close()
    for (const server of [stage.server, stage.replica]) {
      if (server === undefined) continue
      this.#servers.delete(server)
      await server.stop()
    }
    if (stage.clock !== undefined) {
      this.#clocks.delete(stage.clock)
      stage.clock.dispose()
    }
  }

  async #server(settings: Readonly<Record<string, string>>, env?: Readonly<Record<string, string>>) {
    const server = await this.#company.store.start(settings, env)
    this.#servers.add(server)
    return server
  }

  async #clock(): Promise<ServerClock> {
    const lack = serverClockLack()
    if (lack !== undefined) throw new Error(lack)
    const clock = await serverClock()
    this.#clocks.add(clock)
    return clock
  }
}

async function linked(stage: Stage, replica: PrivateServer): Promise<void> {
  for (let tries = 0; tries < 200; tries += 1) {
    const info = await stage.admin((client) => client.info('replication'), replica)
    if (info.includes('master_link_status:up')) return
    await stage.pause(25)
  }
  throw new Error('the replica does not follow its master')
}
