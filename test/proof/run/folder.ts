/**
 * The folder of a run: `run.json` identifies the run and its servers, `run.lock` the process at work, `faults.jsonl`
 * lists the played faults, `samples.jsonl` the memory and the disk, `log.jsonl` the processes' warnings, `servers/` has
 * the data of the servers, of which their logs are left at the end. Lines are appended, the rest is written by a
 * rename: a run killed at any time can be resumed.
 */
import {
  appendFileSync,
  closeSync,
  createReadStream,
  existsSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  readSync,
  renameSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { told } from '../../faults/harness/errors.ts'
import type { Ports } from '../../support/servers/private-server.ts'
import type { Given, RunOptions } from '../command-line.ts'
import { UsageError } from '../errors.ts'
import type { ServerName } from './plan.ts'
import { LOCK, lockRun } from './run-lock.ts'

export interface RunFile {
  readonly options: RunOptions
  readonly ports: Readonly<Partial<Record<ServerName, Ports>>>
}

/** A fault that is over. */
export interface PlayedFault {
  readonly number: number
  readonly kind: string
  readonly victim: string
  /** Orders done when it began. */
  readonly done: number
  readonly atMs: number
  /** Time from its beginning until everything ran again. */
  readonly tookMs: number
  /** Time from then until the next order was done. */
  readonly movedMs: number
  /** Whether the process was replaced, or had been frozen. */
  readonly happened: boolean
}

const RUN = 'run.json'
const FORMAT = 2

export class RunFolder {
  readonly path: string
  readonly file: RunFile

  readonly #release: () => void

  private constructor(path: string, file: RunFile, release: () => void) {
    this.path = path
    this.file = file
    this.#release = release
  }

  /** Opens the folder exclusively until it is closed. @param portsOf for the servers of a new run @throws UsageError */
  static async open(given: Given, portsOf: (options: RunOptions) => Promise<RunFile['ports']>): Promise<RunFolder> {
    const { folder, options } = given
    if (options === undefined && !existsSync(folder)) throw noRun(folder)
    makeFolder(folder)
    const release = lockRun(folder)
    try {
      const run = new RunFolder(folder, await RunFolder.#fileOf(given, portsOf), release)
      for (const name of ['faults', 'samples', 'log']) restore(run.#lines(name))
      return run
    } catch (error) {
      release()
      throw error
    }
  }

  close(): void {
    this.#release()
  }

  static async #fileOf(
    { folder, options, said, resumes }: Given,
    portsOf: (options: RunOptions) => Promise<RunFile['ports']>,
  ): Promise<RunFile> {
    const there = readRun(folder)
    if (there === undefined) {
      if (options === undefined) throw noRun(folder)
      if (readdirSync(folder).some((name) => name !== LOCK)) {
        throw new UsageError(
          '--dir',
          folder,
          'It holds something else: name an empty folder, or one that is not there.',
        )
      }
      const file = { options, ports: await portsOf(options) }
      write(join(folder, RUN), JSON.stringify({ format: FORMAT, ...file }, undefined, 2))
      return file
    }
    const differs = differenceOf(said, there.options)
    if (differs !== undefined) {
      throw new UsageError(
        '--dir',
        folder,
        `It holds a run of ${differs}: name another folder, or leave these options out and add --resume.`,
      )
    }
    if (!resumes) {
      throw new UsageError(
        '--dir',
        folder,
        'It holds a run already: go on with it by --resume, name another folder, or remove it.',
      )
    }
    return there
  }

  serverFolder(server: ServerName): string {
    return join(this.path, 'servers', server)
  }

  append(name: 'faults' | 'samples' | 'log', line: object): void {
    appendFileSync(this.#lines(name), `${JSON.stringify(line)}\n`)
  }

  /** Reads lines one by one: a long run has many. */
  async *read<Line>(name: 'faults' | 'samples' | 'log'): AsyncGenerator<Line> {
    const path = this.#lines(name)
    if (!existsSync(path)) return
    for await (const line of createInterface({ input: createReadStream(path) })) yield JSON.parse(line) as Line
  }

  /** Replaces a small file. */
  keep(name: string, value: object): void {
    write(join(this.path, name), JSON.stringify(value, undefined, 2))
  }

  kept<Value>(name: string): Value | undefined {
    const path = join(this.path, name)
    return existsSync(path) ? (JSON.parse(readFileSync(path, 'utf8')) as Value) : undefined
  }

  /** Deletes the servers' data, which a finished run no longer needs. The servers' output is kept. */
  dropServers(): void {
    const servers = join(this.path, 'servers')
    for (const server of existsSync(servers) ? readdirSync(servers) : []) {
      const said = join(servers, server, 'server.log')
      if (existsSync(said)) renameSync(said, join(this.path, `${server}.log`))
    }
    rmSync(servers, { recursive: true, force: true, maxRetries: 5, retryDelay: 200 })
  }

  get hasServers(): boolean {
    return existsSync(join(this.path, 'servers'))
  }

  #lines(name: string): string {
    return join(this.path, `${name}.jsonl`)
  }
}

function noRun(folder: string): UsageError {
  return new UsageError('--dir', folder, 'It holds no run: leave --resume out to begin one.')
}

function makeFolder(folder: string): void {
  try {
    mkdirSync(folder, { recursive: true })
  } catch (error) {
    throw new UsageError('--dir', folder, `It cannot be made: name another folder. ${told(error)}`)
  }
}

function readRun(folder: string): RunFile | undefined {
  const path = join(folder, RUN)
  if (!existsSync(path)) return undefined
  return parseRun(readFileSync(path, 'utf8'), path)
}

/** @throws UsageError when it is no run, or one of another version */
export function parseRun(text: string, path: string): RunFile {
  let file: unknown
  try {
    file = JSON.parse(text)
  } catch {
    throw new UsageError('--dir', path, 'It cannot be read: name another folder, or remove it.')
  }
  const { format, options, ports } = asObject(file)
  if (format !== FORMAT) {
    throw new UsageError(
      path,
      format,
      `It was written by another version (this one reads ${FORMAT}): name another folder.`,
    )
  }
  if (typeof options !== 'object' || options === null || typeof ports !== 'object' || ports === null)
    throw new UsageError('--dir', path, 'It is not whole: name another folder, or remove it.')
  return { options, ports } as RunFile
}

function asObject(value: unknown): Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null ? { ...value } : {}
}

function differenceOf(said: Partial<RunOptions>, there: RunOptions): string | undefined {
  const names = Object.keys(said) as (keyof RunOptions)[]
  const other = names.filter((name) => said[name] !== there[name])
  return other.length === 0 ? undefined : other.map((name) => `--${name} ${there[name]}`).join(' ')
}

function write(path: string, text: string): void {
  writeFileSync(`${path}.part`, `${text}\n`)
  renameSync(`${path}.part`, path)
}

/** Cuts off a last line that a kill left unfinished. */
function restore(path: string): void {
  if (!existsSync(path)) return
  const { size } = statSync(path)
  const bytes = Buffer.alloc(Math.min(size, 1024 * 1024))
  const file = openSync(path, 'r')
  readSync(file, bytes, 0, bytes.length, size - bytes.length)
  closeSync(file)
  truncateSync(path, size - bytes.length + bytes.lastIndexOf('\n') + 1)
}
