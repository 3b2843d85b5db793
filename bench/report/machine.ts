import { readFileSync } from 'node:fs'
import { cpus, loadavg, totalmem } from 'node:os'
import { fileURLToPath } from 'node:url'
import type { Machine } from './report.ts'

const ROOT = fileURLToPath(new URL('../../', import.meta.url))
/** Drivers and peers of the main install; the heavy ones have theirs in the names of rows. */
const PACKAGES = ['kafkajs', '@platformatic/kafka', 'amqplib', 'pg', 'ioredis', 'redlock', 'redis-semaphore'] as const

export function thisMachine(): Machine {
  const all = cpus()
  return { cpu: all[0]?.model.trim() ?? 'unknown', cores: all.length, memoryGb: Math.round(totalmem() / 2 ** 30) }
}

/** Load average of one minute. */
export function loadNow(): number {
  return Math.round((loadavg()[0] ?? 0) * 100) / 100
}

/** Versions of the installed packages. */
export function versionsHere(): Readonly<Record<string, string>> {
  const found = PACKAGES.map((name) => [name, versionIn(`${ROOT}node_modules/${name}/package.json`)] as const)
  const here = found.filter((entry): entry is [(typeof PACKAGES)[number], string] => entry[1] !== undefined)
  return {
    node: process.versions.node,
    concordat: versionIn(`${ROOT}package.json`) ?? '-',
    ...Object.fromEntries(here),
  }
}

function versionIn(file: string): string | undefined {
  try {
    return (JSON.parse(readFileSync(file, 'utf8')) as { readonly version?: string }).version
  } catch {
    return undefined
  }
}
