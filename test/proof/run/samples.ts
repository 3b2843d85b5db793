/** The memory of every process and server, and the disk of every server, now and then. */
import type { Event } from '../../faults/harness/events.ts'
import type { RunFolder } from './folder.ts'
import type { House } from './house.ts'
import { diskOf, rssOf, treeRssOf } from './memory-of.ts'
import type { Staff } from './staff.ts'

/** Sample of one process. */
export interface ProcessSample {
  readonly name: string
  readonly pid: number
  readonly rss: number
  /** Node's last answer about its memory; absent until it has answered. */
  readonly heapUsed?: number | undefined
  readonly external?: number | undefined
  readonly arrayBuffers?: number | undefined
}

export interface Sample {
  /** Time of the run, without the time between an interruption and the resumption. */
  readonly atMs: number
  readonly done: number
  readonly processes: readonly ProcessSample[]
  /** Bytes on disk by server; not in every sample. */
  readonly disk?: Readonly<Record<string, number>> | undefined
}

/** Counting a folder costs more than reading a process. */
const DISK_EVERY = 6

type Memory = Pick<ProcessSample, 'heapUsed' | 'external' | 'arrayBuffers'>

export class Sampler {
  readonly #folder: RunFolder
  readonly #house: House
  readonly #staff: Staff
  readonly #memories = new Map<string, { readonly pid: number; readonly memory: Memory }>()
  #count = 0

  constructor(folder: RunFolder, house: House, staff: Staff) {
    this.#folder = folder
    this.#house = house
    this.#staff = staff
  }

  /** Records a process' answer. */
  heard({ process: name, ...event }: Event): void {
    const { memory } = event as { readonly memory?: Memory }
    const member = this.#staff.members.find((each) => each.name === name)
    if (memory !== undefined && member !== undefined) this.#memories.set(name, { pid: member.actor.pid, memory })
  }

  take(atMs: number, done: number): void {
    const sample: Sample = { atMs: Math.round(atMs), done, processes: [...this.#processes()], ...this.#disk() }
    this.#folder.append('samples', sample)
    this.#staff.order({ do: 'memory' })
  }

  *#processes(): Generator<ProcessSample> {
    yield { name: 'harness', pid: process.pid, rss: process.memoryUsage.rss() }
    for (const { name, actor } of this.#staff.members) {
      const rss = actor.isAlive ? rssOf(actor.pid) : undefined
      if (rss === undefined) continue
      const said = this.#memories.get(name)
      const { heapUsed, external, arrayBuffers } = said?.pid === actor.pid ? said.memory : ({} as Memory)
      yield { name, pid: actor.pid, rss, heapUsed, external, arrayBuffers }
    }
    for (const [name, server] of this.#house.servers) {
      const found = serverRss(server)
      if (found !== undefined) yield { name, ...found }
    }
  }

  #disk(): Pick<Sample, 'disk'> {
    if (this.#count++ % DISK_EVERY !== 0) return {}
    const disk: Record<string, number> = {}
    for (const name of this.#house.servers.keys()) {
      const bytes = diskOf(this.#folder.serverFolder(name))
      if (bytes !== undefined) disk[name] = bytes
    }
    return { disk }
  }
}

/** `undefined` while the server is down. */
function serverRss(server: { readonly pid: number }): { readonly pid: number; readonly rss: number } | undefined {
  try {
    const { pid } = server
    const rss = treeRssOf(pid)
    return rss === undefined ? undefined : { pid, rss }
  } catch {
    return undefined
  }
}
