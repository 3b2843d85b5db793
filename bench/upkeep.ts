/** Cost per second of heartbeats and renewals. */
import { setTimeout as sleep } from 'node:timers/promises'
import { type RedisStats, type Traffic, trafficBetween } from './redis-stats.ts'
import { number, type Table } from './table.ts'

export interface Upkeep {
  readonly what: string
  readonly seconds: number
  readonly traffic: Traffic
  /** Share of one core. */
  readonly clientShare: number
  readonly serverShare: number
}

/** Measures for `seconds` without a call. Client: the CPU time of this process. */
export async function lookOn(
  stats: RedisStats,
  what: string,
  seconds: number,
  direct: readonly string[],
): Promise<Upkeep> {
  globalThis.gc?.()
  const before = await stats.commands()
  const serverBefore = await stats.cpuUs()
  const clientBefore = process.cpuUsage()
  const startedAt = performance.now()
  await sleep(seconds * 1_000)
  const us = (performance.now() - startedAt) * 1_000
  const { user, system } = process.cpuUsage(clientBefore)
  const serverUs = (await stats.cpuUs()) - serverBefore
  const traffic = trafficBetween(before, await stats.commands(), direct)
  return { what, seconds: us / 1e6, traffic, clientShare: (user + system) / us, serverShare: serverUs / us }
}

const HEAD = ['what', 'requests/s', 'commands in scripts/s', 'CPU of the client', 'CPU of Redis'] as const

export function upkeepTable(title: string, all: readonly Upkeep[]): Table {
  const rows = all.map(({ what, seconds, traffic, clientShare, serverShare }) => [
    what,
    number(traffic.requests / seconds),
    number(traffic.inScripts / seconds),
    `${(clientShare * 100).toFixed(1)} %`,
    `${(serverShare * 100).toFixed(1)} %`,
  ])
  return { title, head: HEAD, rows }
}
