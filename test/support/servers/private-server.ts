import type { ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import {
  chownSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  writeFileSync,
} from 'node:fs'
import { rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { basename, join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { lastLines, spawnCommand } from './command.ts'
import type { ServerKind } from './kinds.ts'
import type { LossyDisk } from './lossy-disk.ts'
import { freePort } from './ports.ts'
import { endTree, killTree, pauseTree, resumeTree } from './process-tree.ts'
import type { Recipe, Site } from './recipe.ts'
import { PID_FILE, Watchdog } from './watchdog.ts'

/** A server of one's own, to be killed and paused at will: own processes, port and folder. */
export interface PrivateServer extends AsyncDisposable {
  readonly kind: ServerKind
  /** The same across restarts. Kafka: `host:port`. */
  readonly url: string
  /** The server's own process (never a launcher); another one after each `start`. */
  readonly pid: number
  /** SIGKILL for all its processes; resolves when they have ended. Its data folder stays. */
  kill(): Promise<void>
  /**
   * The power of its machine fails: `kill`, and writes that were not synced to its `disk` are lost. Resolves when the power is
   * back.
   * @returns the files of its data that have lost something
   */
  losePower(): Promise<readonly string[]>
  /** Starts it again, same port and data folder; resolves when it answers. Does nothing while it runs. */
  start(): Promise<void>
  /** SIGSTOP for all its processes: connections stay open and silent. */
  pause(): void
  /** SIGCONT after `pause`. */
  resume(): void
  /** While it does not run: its folder is emptied and filled as that of a new server, which has the same ports. */
  renew(): Promise<void>
  /** Ends it and removes its folder, unless that was given (`keepIn`). May be called again. */
  stop(): Promise<void>
}

export interface StartOptions {
  /** Gives up the start (and only that): started parts are stopped, the promise rejects. */
  readonly signal?: AbortSignal | undefined
  /**
   * More settings under the server's own names, e.g. `{ appendonly: 'yes', appendfsync: 'always' }` for Redis. `{port}` and
   * `{innerPort}` in a value become those of the server.
   */
  readonly settings?: Readonly<Record<string, string>> | undefined
  /** Passwords by user name, for SCRAM-SHA-256 and SCRAM-SHA-512. Kafka alone. */
  readonly users?: Readonly<Record<string, string>> | undefined
  /** Added to the environment of the server, e.g. that of a `serverClock`. */
  readonly env?: Readonly<Record<string, string>> | undefined
  /** Where others have to know them before it starts. @default free ones */
  readonly ports?: Ports | undefined
  /**
   * The folder of its data, which survives it: another start with the same folder, ports and settings continues with the data.
   * The caller removes it. @default one of its own, removed with the server
   */
  readonly keepIn?: string | undefined
  /** Where its data is, so that its power can fail; ends with the server. */
  readonly disk?: LossyDisk | undefined
}

/** Of one server: for clients, and for its own use. */
export interface Ports {
  readonly port: number
  readonly innerPort: number
}

/** Time for a server to answer, on a loaded machine; an idle one needs 0.1 s (Redis) to 5 s (RabbitMQ). */
const ANSWER_WITHIN_MS = 240_000
const PING_WITHIN_MS = 30_000
const STOP_GRACE_MS = 5_000
/** Time limit for the watchdog of an ended process to end its server. */
const LEFT_WITHIN_MS = 10_000
/** Names the variable of the environment with a folder in which the logs of stopped servers are kept. @default they are removed */
export const KEPT_LOGS = 'CONCORDAT_SERVER_LOGS'
/** Is in a folder that holds all a server needs to begin. */
const PREPARED = 'prepared'

/** A new private server by this recipe; resolves when it answers. @throws ServerUnavailable, or Error with its log */
export async function startPrivateServer(recipe: Recipe, options: StartOptions = {}): Promise<PrivateServer> {
  await recipe.require()
  options.signal?.throwIfAborted()
  const { port, innerPort } = options.ports ?? (await freePorts())
  const { disk } = options
  if (disk !== undefined && options.keepIn !== undefined) throw new Error('a server has a disk or a folder, not both')
  const keepIn = options.keepIn ?? disk?.folder
  const folder = keepIn ?? mkdtempSync(join(tmpdir(), `concordat-${recipe.kind}-`))
  if (keepIn !== undefined) mkdirSync(keepIn, { recursive: true })
  const server = new LocalServer(
    recipe,
    {
      folder,
      port,
      innerPort,
      settings: withPorts(options.settings ?? {}, port, innerPort),
      users: options.users ?? {},
      env: options.env ?? {},
      isKept: keepIn !== undefined,
    },
    disk,
  )
  try {
    if (keepIn !== undefined) await untilLeft(keepIn)
    if (!existsSync(join(folder, PREPARED))) await server.prepare()
    await server.start(options.signal)
    await disk?.sync()
    return server
  } catch (error) {
    await server.stop()
    throw error
  }
}

export async function freePorts(): Promise<Ports> {
  return { port: await freePort(), innerPort: await freePort() }
}

/** Waits until a server that another process had in this folder has ended. If it stays, the start fails. */
async function untilLeft(folder: string): Promise<void> {
  const deadline = performance.now() + LEFT_WITHIN_MS
  while (performance.now() < deadline) {
    if (!existsSync(join(folder, PID_FILE))) return
    await sleep(50)
  }
}

function withPorts(
  settings: Readonly<Record<string, string>>,
  port: number,
  innerPort: number,
): Readonly<Record<string, string>> {
  const filled = (value: string): string =>
    value.replaceAll('{port}', String(port)).replaceAll('{innerPort}', String(innerPort))
  return Object.fromEntries(Object.entries(settings).map(([name, value]) => [name, filled(value)]))
}

class LocalServer implements PrivateServer {
  readonly kind: ServerKind
  readonly url: string
  readonly #recipe: Recipe
  readonly #site: Site
  readonly #logFile: string
  readonly #watchdog: Watchdog
  readonly #disk: LossyDisk | undefined
  #process: ChildProcess | undefined
  #stopped: Promise<void> | undefined

  constructor(recipe: Recipe, site: Site, disk: LossyDisk | undefined) {
    this.kind = recipe.kind
    this.url = recipe.url(site)
    this.#recipe = recipe
    this.#site = site
    this.#logFile = join(site.folder, 'server.log')
    this.#watchdog = new Watchdog(site.folder, recipe.stopSignal, site.isKept)
    this.#disk = disk
  }

  get pid(): number {
    const pid = this.#process?.pid
    if (pid === undefined) throw new Error(`${this.kind}: not running, it has no pid`)
    return pid
  }

  async prepare(): Promise<void> {
    const { folder } = this.#site
    // Left behind by a start that was cut short.
    for (const name of readdirSync(folder)) await rm(join(folder, name), { recursive: true, force: true })
    const { account } = this.#recipe.command(this.#site)
    if (account !== undefined) chownSync(folder, account.uid, account.gid)
    await this.#recipe.prepare(this.#site)
    writeFileSync(join(folder, PREPARED), '')
  }

  async start(signal?: AbortSignal): Promise<void> {
    if (this.#stopped !== undefined) throw new Error(`${this.kind}: stopped for good, its folder is gone`)
    if (this.#process !== undefined && !hasEnded(this.#process)) return
    const command = this.#recipe.command(this.#site)
    const env = { ...command.env, ...this.#site.env }
    const child = spawnCommand({ ...command, env }, this.#site.folder, this.#logFile)
    child.on('error', () => {})
    child.unref()
    this.#process = child
    if (child.pid !== undefined) this.#watchdog.guard(child.pid)
    await this.#untilAnswer(child, signal)
  }

  async kill(): Promise<void> {
    await this.#end((pid) => killTree(pid))
  }

  async losePower(): Promise<readonly string[]> {
    if (this.#disk === undefined) throw new Error(`${this.kind}: started without a disk whose power can fail`)
    await this.kill()
    const changed = await this.#disk.losePower()
    // The file was there when the disk was synced.
    this.#watchdog.forget()
    return changed.filter((path) => path.startsWith('data/') && !path.endsWith('.pid'))
  }

  pause(): void {
    pauseTree(this.pid)
  }

  resume(): void {
    resumeTree(this.pid)
  }

  async renew(): Promise<void> {
    if (this.#process !== undefined) throw new Error(`${this.kind}: it runs, kill it before its folder is emptied`)
    await this.prepare()
  }

  stop(): Promise<void> {
    this.#stopped ??= this.#stopWithDisk()
    return this.#stopped
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.stop()
  }

  async #stopWithDisk(): Promise<void> {
    try {
      await this.#stop()
    } finally {
      await this.#disk?.[Symbol.asyncDispose]()
    }
  }

  async #stop(): Promise<void> {
    await this.#end((pid) => endTree(pid, this.#recipe.stopSignal, STOP_GRACE_MS))
    const { folder, isKept } = this.#site
    this.#keepLog()
    if (!isKept) await rm(folder, { recursive: true, force: true, maxRetries: 5, retryDelay: 100 })
    await this.#watchdog.dismiss()
  }

  #keepLog(): void {
    const kept = process.env[KEPT_LOGS]
    if (kept === undefined || !existsSync(this.#logFile)) return
    mkdirSync(kept, { recursive: true })
    copyFileSync(this.#logFile, join(kept, `${basename(this.#site.folder)}.log`))
  }

  async #end(endProcesses: (pid: number) => Promise<void>): Promise<void> {
    const child = this.#process
    if (child?.pid !== undefined && !hasEnded(child)) {
      child.ref()
      // Only after this event have all its threads ended, and its port is free.
      await Promise.all([once(child, 'exit'), endProcesses(child.pid)])
    }
    this.#process = undefined
    this.#watchdog.forget()
  }

  /** Tries until it answers, ends, is given up by `signal` or by the deadline. */
  async #untilAnswer(child: ChildProcess, signal: AbortSignal | undefined): Promise<void> {
    const deadline = performance.now() + ANSWER_WITHIN_MS
    for (;;) {
      signal?.throwIfAborted()
      const tooLong = sleep(PING_WITHIN_MS, `a ping took more than ${PING_WITHIN_MS} ms`, { ref: false })
      const failure = await Promise.race([this.#recipe.ping(this.url).then(() => undefined, String), tooLong])
      if (hasEnded(child)) throw this.#startError('ended at once')
      if (failure === undefined) return
      if (performance.now() > deadline) throw this.#startError(`gave no answer in ${ANSWER_WITHIN_MS} ms: ${failure}`)
      await sleep(20)
    }
  }

  #startError(what: string): Error {
    return new Error(`${this.kind} at ${this.url} ${what}. The end of its log:\n${this.#logTail()}`)
  }

  #logTail(): string {
    try {
      return lastLines(readFileSync(this.#logFile, 'utf8'))
    } catch {
      return '(no log)'
    }
  }
}

function hasEnded(child: ChildProcess): boolean {
  return child.pid === undefined || child.exitCode !== null || child.signalCode !== null
}
