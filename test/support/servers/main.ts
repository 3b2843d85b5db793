/**
 * `npm run servers [-- kafka redis]`: private servers for a session at the keyboard. Progress goes to stderr; once all of
 * them answer, their addresses go to stdout as `export` lines. Ctrl-C or SIGTERM stops them all.
 *
 * `npm run servers -- cluster [--only kafka,redis]`: three Kafka brokers, three RabbitMQ nodes, Redis under three sentinels and
 * PostgreSQL with a synchronous standby.
 */
import { type ClusterPart, type StartedPart, startPart } from './cluster/parts.ts'
import { addressVariable, type ServerKind, ServerUnavailable } from './kinds.ts'
import { obtainServer } from './obtain.ts'
import { wantedServers } from './wanted.ts'

const EXIT_UNUSABLE = 2

// The pull of an image goes on when it is no longer awaited, and would keep the process.
process.exit(await main(process.argv.slice(2)))

async function main(args: readonly string[]): Promise<number> {
  const wanted = wantedServers(args)
  if (typeof wanted === 'string') {
    say(wanted)
    return EXIT_UNUSABLE
  }
  if ('help' in wanted) {
    console.log(wanted.help)
    return 0
  }
  const interrupted = interruption()
  const starts = await Promise.allSettled(
    'parts' in wanted
      ? wanted.parts.map((part) => startClusterPart(part, interrupted))
      : wanted.kinds.map((kind) => start(kind, interrupted)),
  )
  const servers = starts.flatMap((start) => (start.status === 'fulfilled' ? [start.value] : []))
  const failures = starts.flatMap((start) => (start.status === 'rejected' ? [start.reason as unknown] : []))
  try {
    if (interrupted.aborted) return 0
    if (failures.length > 0) {
      for (const failure of failures) say(describe(failure))
      return EXIT_UNUSABLE
    }
    for (const { lines } of servers) for (const line of lines) console.log(line)
    say('all of them answer; Ctrl-C stops them')
    await untilAborted(interrupted)
    return 0
  } finally {
    if (servers.length > 0) say('stopping')
    await Promise.all(servers.map((server) => server.stop()))
  }
}

interface Started {
  readonly lines: readonly string[]
  stop(): Promise<void>
}

async function start(kind: ServerKind, signal: AbortSignal): Promise<Started> {
  const begin = performance.now()
  say(`starting ${kind}`)
  const server = await obtainServer(kind, { signal })
  say(`${kind} answers at ${server.url} (${secondsSince(begin)} s)`)
  return { lines: [`export ${addressVariable[kind]}=${server.url}`], stop: () => server.stop() }
}

async function startClusterPart(part: ClusterPart, signal: AbortSignal): Promise<Started> {
  const begin = performance.now()
  say(`starting ${part}, a cluster`)
  const { group, lines }: StartedPart = await startPart(part, signal)
  say(`${part} answers (${secondsSince(begin)} s)`)
  return { lines, stop: () => group.stop() }
}

function secondsSince(begin: number): string {
  return ((performance.now() - begin) / 1_000).toFixed(1)
}

/** Aborted by the first SIGINT, SIGTERM or SIGHUP; later ones do not cut the stopping short. */
function interruption(): AbortSignal {
  const controller = new AbortController()
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => controller.abort())
  return controller.signal
}

/** Keeps the process alive until then: the servers themselves do not. */
function untilAborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const keepAlive = setInterval(() => {}, 2 ** 30)
    const finish = (): void => {
      clearInterval(keepAlive)
      resolve()
    }
    if (signal.aborted) finish()
    else signal.addEventListener('abort', finish, { once: true })
  })
}

/** One line for what a user can fix; the whole error otherwise. */
function describe(failure: unknown): string {
  if (failure instanceof ServerUnavailable) return failure.message
  return failure instanceof Error ? failure.message : String(failure)
}

function say(line: string): void {
  process.stderr.write(`${line}\n`)
}
